// Each property access goes down a hundred thousand proxies.
export default function () {
  let value = {}
  for (let i = 0; i < 1e5; i++) value = new Proxy(value, {})
  return value
}
