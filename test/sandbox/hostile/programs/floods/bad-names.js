// Names that leave the folder, hide, or collide; and those that trip up a careless table.
const found = []
const bad = [
  '',
  '.',
  '..',
  '.hidden',
  '/',
  '/etc/passwd',
  '../taken',
  'a/b',
  'a\0b',
  '\0',
  'x'.repeat(256),
  '\u00e9'.repeat(128),
  '.error',
  '.status',
  '.last',
  'a/',
  '..\0',
]
for (const name of bad)
  try {
    emit(name, 'x')
    found.push(JSON.stringify(name.slice(0, 20)))
  } catch (error) {
    if (error.constructor.constructor !== Function) found.push('another realm')
  }
for (const name of ['\ud800', 'a\udc00b'])
  try {
    emit(name, 'lone surrogate')
  } catch {
    // Refused is as good as replaced.
  }
for (const name of [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  'x'.repeat(255),
  '-rf',
  'a b',
  'nl\nname',
])
  emit(name, `good ${name.length}`)
try {
  emit('__proto__', 'twice')
  found.push('a name twice')
} catch {
  // Taken.
}
if (found.length > 0) throw new Error(found.join(' '))
