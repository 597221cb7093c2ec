export default function () {
  const text = '['.repeat(1e5) + ']'.repeat(1e5)
  const value = JSON.parse(text)
  return value
}
