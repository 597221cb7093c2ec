// Every way to say "outside" in a name, with the secret beside the directory.
export default function (dir) {
  const found = []
  const names = [
    '../secret.txt',
    './../secret.txt',
    'sub/../../secret.txt',
    '..',
    '../',
    '/',
    '.',
    '',
    './',
    '//',
    'sub/../../../../../../../../etc/passwd',
    '/etc/passwd',
    '//etc/passwd',
    '/proc/self/environ',
    '/proc/self/fd/0',
    '/proc/self/fd/3',
    '/proc/self/mem',
    '/proc/1/environ',
    '/dev/fd/3',
    '/dev/mem',
    'secret.txt\0',
    '../secret.txt\0.txt',
    'canary.txt\0../secret.txt',
    '..\\secret.txt',
    '..%2fsecret.txt',
    '\uff0e\uff0e/secret.txt',
    '.\u200b./secret.txt',
    '\ud800/../../secret.txt',
    'file:///etc/passwd',
    '~/.ssh/id_rsa',
    'sub/'.repeat(2000) + 'x',
    'x'.repeat(1e6),
    '../'.repeat(1e5) + 'etc/passwd',
  ]
  const ways = {
    file: (name) => dir.file(name).text(),
    'file in dir': (name) => dir.dir('sub').file(name).text(),
    dir: (name) => dir.dir(name).file('secret.txt').text(),
    'dir, then its files': (name) =>
      [...dir.dir(name).files('*secret*')].map((file) => file.text()).join(),
    files: (name) => [...dir.files(name)].map((file) => file.text()).join(),
    'files below': (name) => [...dir.files(name + '/*')].map((file) => file.text()).join(),
  }
  for (const name of names)
    for (const [way, call] of Object.entries(ways)) {
      let got
      try {
        got = call(name)
      } catch (error) {
        if (error.constructor.constructor !== Function) found.push('an error of another realm')
        continue
      }
      if (/SECRET|root:/.test(String(got))) found.push(`${way}: ${name.slice(0, 40)}`)
    }
  return found.length === 0 ? 'held' : found.join('\n')
}
