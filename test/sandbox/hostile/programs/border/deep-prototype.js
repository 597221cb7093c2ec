export default function () {
  let value = null
  for (let i = 0; i < 1e5; i++) value = Object.create(value)
  emit('prototype.json', value)
  return 'held'
}
