// What blocks or does things when it is opened: each must be refused, at once.
export default function (dir) {
  const found = []
  for (const name of ['fifo', 'null', 'zero', 'tty', 'disk', 'socket', 'sub', 'link-fifo'])
    try {
      const file = dir.file(name)
      found.push(`${name}: ${file.text().length} characters`)
    } catch (error) {
      if (error.constructor.constructor !== Function) found.push('an error of another realm')
    }
  for (const file of dir.files('*'))
    if (['fifo', 'null', 'zero', 'tty', 'disk', 'socket'].includes(file.name))
      try {
        found.push(`listed ${file.name}: ${file.text().length} characters`)
      } catch {
        // Listed and refused is fine.
      }
  return found.length === 0 ? 'held' : found.join('\n')
}
