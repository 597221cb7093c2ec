// Registered symbols are never collected.
const kept = []
for (let i = 0; ; i++) kept.push(Symbol.for('symbol ' + i))
