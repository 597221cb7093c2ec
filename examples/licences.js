/** Which licences do the installed packages have? Over every package.json below this directory. */
export default function (dir) {
  const byLicence = new Map()
  for (const file of dir.files('**/package.json')) {
    const { name, version, license, licenses } = file.json()
    if (name === undefined || version === undefined) continue // marks a folder, not a package
    const licence = nameOf(license ?? licenses) || 'none stated'
    if (!byLicence.has(licence)) byLicence.set(licence, new Set())
    byLicence.get(licence).add(`${name}@${version}`)
  }

  const sorted = [...byLicence].toSorted((a, b) => b[1].size - a[1].size || (a[0] < b[0] ? -1 : 1))
  emit('licences.json', Object.fromEntries(sorted.map(([licence, names]) => [licence, [...names]])))
  emit('summary.txt', sorted.map(([licence, names]) => `${names.size}\t${licence}\n`).join(''))
}

/** Old packages have objects, or lists of them. */
function nameOf(licence) {
  if (Array.isArray(licence)) return licence.map(nameOf).join(' OR ')
  return typeof licence === 'object' ? licence?.type : licence
}
