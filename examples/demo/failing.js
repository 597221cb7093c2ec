export default function (dir) {
  const settings = dir.file('package.json').json()
  return settings.deployment.region
}
