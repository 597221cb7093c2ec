// Each `**` may stand for any number of folders, in as many ways as there are folders.
export default (dir) => [...dir.files('**/'.repeat(40) + 'nothing')].length
