// A directory of a hundred thousand entries.
export default function (dir) {
  let count = 0
  for (const file of dir.files()) count += file.name.length > 0 ? 1 : 0
  let some = 0
  for (const file of dir.files('*99')) some += file.name.length > 0 ? 1 : 0
  return `${count} ${some}`
}
