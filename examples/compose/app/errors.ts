/** The errors of each log, by name. Only this answer leaves the volume. */
export default function (dir: Directory) {
  const errors: Record<string, number> = {}
  for (const file of dir.files('*.log')) {
    errors[file.name] = 0
    for (const line of file.lines()) if (line.startsWith('ERROR')) errors[file.name] += 1
  }
  emit('errors.json', errors)
}
