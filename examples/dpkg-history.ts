/** What was installed, upgraded and removed on which day, from dpkg's own log. */
type Action = 'install' | 'upgrade' | 'remove'

export default function (dir: Directory) {
  const days: Record<string, Record<Action, string[]>> = {}
  for (const file of dir.files('dpkg.log')) {
    for (const line of file.lines()) {
      const [day, , action, what] = line.split(' ', 4)
      if (action !== 'install' && action !== 'upgrade' && action !== 'remove') continue
      if (day === undefined || what === undefined) continue
      days[day] ??= { install: [], upgrade: [], remove: [] }
      days[day][action].push(what)
    }
  }
  emit('history.json', days)
  emit(
    'per-day.txt',
    Object.entries(days)
      .map(
        ([day, { install, upgrade, remove }]) =>
          `${day}  +${install.length}  ^${upgrade.length}  -${remove.length}\n`,
      )
      .join(''),
  )
}
