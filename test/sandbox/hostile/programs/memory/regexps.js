const kept = []
for (let i = 0; ; i++) {
  const expression = new RegExp(`(${'[a-y]|'.repeat(3000)}${i})+`)
  expression.test('b'.repeat(20))
  kept.push(expression)
}
