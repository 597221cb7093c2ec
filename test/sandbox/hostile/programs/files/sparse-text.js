export default (dir) => dir.file('sparse').text().length
