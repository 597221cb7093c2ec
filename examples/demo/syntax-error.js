export default function (dir) {
  return dir.files().map((file) => file.name
}
