// V8's inspector and heap tools hang on odd global names; none may be here.
const found = []
for (const name of Object.getOwnPropertyNames(globalThis))
  if (/inspector|%|^_|ivm|host|native|internal|primordial/i.test(name)) found.push(name)
found.length === 0 ? 'held' : found.join(' ')
