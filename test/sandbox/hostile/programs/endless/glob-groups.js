// Nested repetition, as a regular expression would have it.
export default (dir) => [...dir.files('+(+(+(a)))b')].length
