const kept = []
for (let i = 0; ; i++) {
  const text = String(i).repeat(1e6)
  // A look inside flattens the rope: the characters are really there.
  kept.push(text, text.charCodeAt(5e5))
}
