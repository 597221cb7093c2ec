// Each open iterator holds a buffer on the trusted side.
export default function (dir) {
  const kept = []
  for (;;) {
    const lines = dir.file('large.txt').lines()[Symbol.iterator]()
    lines.next()
    kept.push(lines)
  }
}
