// Names that are one thing when they are checked and another when they are used.
export default function (dir) {
  const found = []
  let looks = 0
  const changing = { toString: () => (looks++ === 0 ? 'good.txt' : '../../taken') }
  const attempts = {
    emit: () => emit(changing, 'x'),
    'emit by proxy': () => emit(new Proxy(() => {}, { get: () => () => '../../taken' }), 'x'),
    'emit an array': () => emit(['../../taken'], 'x'),
    'emit a String': () =>
      emit(Object.assign(new String('good.txt'), { toString: () => '../taken' }), 'x'),
    'emit by toPrimitive': () => emit({ [Symbol.toPrimitive]: () => '../../taken' }, 'x'),
    file: () =>
      dir.file({ toString: () => (looks++ === 0 ? 'canary.txt' : '../secret.txt') }).text(),
    dir: () =>
      dir
        .dir({ toString: () => '..' })
        .file('secret.txt')
        .text(),
    files: () => [...dir.files({ toString: () => '../*' })].map((file) => file.text()),
  }
  for (const [name, attempt] of Object.entries(attempts)) {
    looks = 0
    let got
    try {
      got = attempt()
    } catch {
      continue
    }
    if (String(got).includes('SECRET')) found.push(name)
  }
  return found.length === 0 ? 'held' : found.join('\n')
}
