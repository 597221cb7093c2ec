// The answer to this never comes: the wall limit counts also while the guest does not run.
export default (dir) => dir.file('never-answered').text()
