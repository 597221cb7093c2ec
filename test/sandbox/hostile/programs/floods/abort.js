// Sizes at which the engine itself gives up and ends the process.
const kept = []
const attempts = [
  () => new Array(2 ** 27).fill(1.1).concat(new Array(2 ** 27).fill(1.1)),
  () => 'x'.repeat(2 ** 29 - 25).split(''),
  () => new Set(new Array(2 ** 24 + 1).keys()),
  () => Array.from({ length: 2 ** 28 }, (_, i) => i),
  () => JSON.stringify(new Array(2 ** 26).fill('xxxxxxxx')),
  () => String.fromCharCode.apply(null, new Array(2 ** 25).fill(65)),
  () => new RegExp('(?:a{0,1000}){0,1000}'.repeat(50)).test('a'),
  () => Object.fromEntries(new Array(2 ** 23).fill(0).map((_, i) => [`k${i}`, i])),
]
for (const attempt of attempts)
  try {
    kept.push(attempt())
  } catch (error) {
    if (error.constructor.constructor !== Function) throw new Error('another realm')
  }
for (;;) kept.push(new Array(2 ** 20).fill({}))
