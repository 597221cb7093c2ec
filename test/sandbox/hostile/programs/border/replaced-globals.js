// Globals replaced at once; the next run must not see it.
globalThis.emit = globalThis.console = globalThis.JSON = globalThis.Promise = undefined
for (const key of Reflect.ownKeys(globalThis))
  try {
    delete globalThis[key]
  } catch {
    // Not configurable.
  }
;(function () {
  return 'held'
})()
