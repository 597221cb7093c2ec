// Doubling costs nothing until something flattens it.
let text = 'x'
for (let i = 0; i < 28; i++) text += text
const kept = []
for (;;) kept.push(text.toUpperCase() + kept.length, JSON.stringify(text))
