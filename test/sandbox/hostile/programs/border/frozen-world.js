// The program freezes and seals all that it can reach, in the hope that the next run meets it.
for (const key of Reflect.ownKeys(globalThis))
  try {
    const value = globalThis[key]
    if (value?.prototype) Object.freeze(value.prototype)
    Object.freeze(value)
  } catch {
    // Some cannot be frozen.
  }
Object.preventExtensions(globalThis)
globalThis.leftBehind = 'left behind'
;('held')
