// Somebody truncates, grows, replaces and removes the file while it is read: bytes never come from
// beyond it, reads end, and a refusal is an ordinary error.
export default function (dir) {
  let reads = 0
  for (let i = 0; i < 300; i++)
    try {
      const file = dir.file('changing.txt')
      let total = file.size + file.bytes().byteLength
      for (const chunk of dir.file('changing.txt').chunks()) total += chunk.byteLength
      for (const line of dir.file('changing.txt').lines()) total += line.length
      if (!(total >= 0 && total < 1e7)) return `${total} characters`
      reads++
    } catch (error) {
      if (error.constructor.constructor !== Function) return 'an error of another realm'
    }
  return reads >= 0 ? 'held' : 'no reads'
}
