// A plain script: the value of the last expression is the result.
const counts = new Map()
const words = new Intl.Segmenter('en', { granularity: 'word' })

for (const file of dir.files('**/*.{txt,md}')) {
  for (const line of file.lines()) {
    for (const { segment, isWordLike } of words.segment(line.toLowerCase())) {
      if (isWordLike) counts.set(segment, (counts.get(segment) ?? 0) + 1)
    }
  }
}

const sorted = [...counts].toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
sorted
  .slice(0, 100)
  .map(([word, count]) => `${count}\t${word}\n`)
  .join('')
