export default function () {
  let value = {}
  for (let i = 0; i < 1e6; i++) value = { value }
  structuredClone(value)
}
