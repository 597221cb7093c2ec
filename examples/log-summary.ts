/** Counts the lines of every log by level, and keeps the most frequent errors. */
interface Summary {
  lines: number
  levels: Record<string, number>
}

const LEVEL = /\b(DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL)\b/

export default function (dir: Directory) {
  const files: Record<string, Summary> = {}
  const errors = new Map<string, number>()

  for (const file of dir.files('**/*.log')) {
    const summary: Summary = { lines: 0, levels: {} }
    for (const line of file.lines()) {
      summary.lines++
      const found = LEVEL.exec(line)
      if (found === null) continue
      const level = found[0]
      summary.levels[level] = (summary.levels[level] ?? 0) + 1
      if (level !== 'ERROR' && level !== 'FATAL') continue
      // Numbers and addresses differ from line to line; what is left is the kind of error.
      const kind = line
        .slice(found.index + level.length)
        .replace(/0x[\da-f]+|\d+/gi, '#')
        .trim()
      errors.set(kind, (errors.get(kind) ?? 0) + 1)
    }
    files[file.path] = summary
  }

  emit('summary.json', files)
  const top = [...errors].toSorted((a, b) => b[1] - a[1]).slice(0, 10)
  emit(
    'top-errors.txt',
    top.map(([kind, count]) => `${String(count).padStart(7)}  ${kind}\n`).join(''),
  )
}
