// A sparse file is larger than all memory that a run may have, and costs the caller nothing.
export default (dir) => dir.file('sparse').bytes().length
