let value = { values: new Array(1000).fill('x') }
for (;;) value = structuredClone({ left: value, right: structuredClone(value) })
