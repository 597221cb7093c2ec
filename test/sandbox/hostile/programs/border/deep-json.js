// Ten million levels: parsers and writers that recurse in native code overflow the real stack.
export default function () {
  let value = []
  for (let i = 0; i < 1e6; i++) value = [value]
  emit('deep.json', value)
}
