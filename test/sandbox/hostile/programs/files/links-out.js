// Links that leave the directory, by the last and by a middle component, directly and in two steps.
export default function (dir) {
  const found = []
  const reached = []
  for (const name of [
    'link-relative',
    'link-absolute',
    'link-twice',
    'link-proc',
    'link-loop',
    'link-dir/secret.txt',
    'link-root/etc/passwd',
    'sub/link-up/secret.txt',
  ])
    try {
      const text = dir.file(name).text()
      if (/SECRET|root:/.test(text)) found.push(name)
      else reached.push(name)
    } catch (error) {
      if (error.constructor.constructor !== Function) found.push('an error of another realm')
    }
  for (const name of ['link-dir', 'link-root', 'link-loop', 'sub/link-up'])
    for (const glob of ['*', '**', '**/*', '{,*/}*'])
      try {
        for (const file of dir.dir(name).files(glob))
          if (/SECRET/.test(file.text())) found.push(`${name}: ${glob}`)
      } catch {
        // Refused: as it should be.
      }
  for (const glob of [
    '**',
    '**/*',
    '*/secret.txt',
    '**/secret*',
    '*/../secret.txt',
    '../*',
    '{..,sub}/*',
  ])
    try {
      for (const file of dir.files(glob))
        try {
          if (/SECRET|root:/.test(file.text())) found.push(`${glob}: ${file.name}`)
        } catch {
          // Listed and refused is fine.
        }
    } catch {
      // Refused: as it should be.
    }
  // A link that stays inside is an ordinary file.
  const inside = dir.file('link-inside').text() === dir.file('canary.txt').text()
  return found.length === 0 && inside ? 'held' : `${found.join('\n')} inside: ${inside}`
}
