/** Every *.jsonl (one JSON object a line) as a CSV file; the columns are those that occur. */
export default function (dir) {
  for (const file of dir.files('*.jsonl')) {
    // Two passes over the file take less memory than keeping it.
    const columns = new Set()
    for (const row of rows(file)) for (const name of Object.keys(row)) columns.add(name)
    emit(file.name.replace(/jsonl$/, 'csv'), csv(file, [...columns]))
  }
}

function* rows(file) {
  let number = 0
  for (const line of file.lines()) {
    number++
    if (line.trim() === '') continue
    try {
      yield JSON.parse(line)
    } catch (error) {
      throw new SyntaxError(`${file.name}, line ${number}: ${error.message}`)
    }
  }
}

function* csv(file, columns) {
  yield columns.map(field).join(',') + '\n'
  for (const row of rows(file)) yield columns.map((name) => field(row[name])).join(',') + '\n'
}

function field(value) {
  if (value === undefined || value === null) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
