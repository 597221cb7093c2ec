export default function () {
  let value = {}
  for (let i = 0; i < 1e6; i++) value = { value }
  console.log(value)
  console.table?.(value)
  return 'held'
}
