// Tries what a guest must not be able to do, and tells what came of it.
export default async function (dir) {
  const attempts = {
    'read /etc/passwd': () => dir.file('/etc/passwd').text(),
    'climb out': () => dir.file('../../../etc/passwd').text(),
    'import node:fs': () => import('node:fs'),
    'reach the process': () => dir.constructor.constructor('return process')().exit(),
    'open a socket': () => fetch('http://example.com'),
    'count time with shared memory': () => new SharedArrayBuffer(8),
    'name a result outside': () => emit('../escaped', 'x'),
  }
  for (const [what, attempt] of Object.entries(attempts)) {
    try {
      await attempt()
      emit('escaped.txt', `${what}: it worked\n`)
    } catch (error) {
      console.log(`${what}: ${error.message}`)
    }
  }
  // And at last all the memory there is.
  const hoard = []
  for (;;) hoard.push(new Uint8Array(1e7).fill(1))
}
