// Each star doubles the ways to match the long name that stands in the directory.
export default (dir) => [...dir.files('*a'.repeat(30) + 'b')].length
