// Code made from text is only more of the guest.
const found = []
const indirect = eval
for (const make of [
  () => indirect('globalThis'),
  () => new Function('return globalThis')(),
  () => Reflect.construct(Function, ['return globalThis']).call(null),
  () => Function.prototype.constructor('return this')(),
])
  try {
    if (make() !== globalThis) found.push(String(make))
  } catch {
    // Not allowed at all is fine.
  }
for (const name of [
  'process',
  'require',
  'Buffer',
  'fetch',
  'setTimeout',
  'WebSocket',
  'Worker',
  'Deno',
  'ShadowRealm',
  'navigator',
  'gc',
])
  if (typeof globalThis[name] !== 'undefined') found.push(name)
found.length === 0 ? 'held' : found.join('\n')
