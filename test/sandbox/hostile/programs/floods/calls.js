// As many crossings as the time allows: the daemon's share of them stays its own.
export default function (dir) {
  for (;;) {
    dir.file('canary.txt').size
    try {
      dir.file('canary.txt').text()
      dir.dir('sub').files('*')
    } catch {
      continue
    }
  }
}
