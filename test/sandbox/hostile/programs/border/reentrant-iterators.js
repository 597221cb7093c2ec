// Two walks over one file, one of them ended in the middle of the other; next() inside next().
export default function (dir) {
  const file = dir.file('many-lines.txt')
  const first = file.lines()[Symbol.iterator]()
  const second = file.lines()[Symbol.iterator]()
  let total = 0
  for (let step = first.next(); !step.done; step = first.next()) {
    if (step.value !== `line ${total}`) return `line ${total} came as ${step.value}`
    total++
    if (total === 10) second.return?.()
    if (total === 20) {
      const third = file.chunks()[Symbol.iterator]()
      third.next()
      third.return?.()
      third.next()
    }
    second.next()
  }
  first.next()
  first.return?.()
  first.return?.()
  return total === 20_000 ? 'held' : `only ${total} lines`
}
