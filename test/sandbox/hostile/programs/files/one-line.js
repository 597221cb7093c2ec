// A line that does not fit is an error that names the bound, not the end of the worker.
export default function (dir) {
  for (const line of dir.file('sparse').lines()) return line.length
}
