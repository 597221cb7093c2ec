// The depth comes with the data: somebody else wrote this file.
export default (dir) => dir.file('deep.json').json()
