// Names that are legal, and that somebody else chose.
export default function (dir) {
  const names = []
  for (const file of dir.files('*')) {
    if (file.name === 'canary.txt') continue
    names.push(file.name)
    try {
      if (file.text() !== 'odd') return `${JSON.stringify(file.name)} holds something else`
    } catch (error) {
      // A name that is not UTF-8 cannot be said in a string; it may be left out or be refused.
      if (!file.name.includes('\ufffd')) return `${JSON.stringify(file.name)}: ${error.message}`
    }
  }
  const wanted = [
    '\n',
    ' ',
    '"quoted"',
    '$(id)',
    '%s%n',
    '-rf',
    '<script>',
    '__proto__',
    'constructor',
    'hasOwnProperty',
    'then',
    'toString',
    'valueOf',
    'x'.repeat(255),
    '\u202egpj.exe',
    '\u{1f600}',
    '\u001b[31m',
    '\\',
    'a\\b',
    '*',
    '{a,b}',
    '[ab]',
  ]
  const missing = wanted.filter((name) => !names.includes(name))
  for (const name of wanted)
    if (dir.file(name).text() !== 'odd') return `${JSON.stringify(name)} by name`
  return missing.length === 0 ? 'held' : `missing: ${JSON.stringify(missing)}`
}
