const kept = []
for (;;) kept.push(new WebAssembly.Table({ initial: 5_000_000, element: 'externref' }, kept))
