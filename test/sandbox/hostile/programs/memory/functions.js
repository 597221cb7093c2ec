// Source text, bytecode and closures, each one new.
const kept = []
for (let i = 0; ; i++) {
  const argument = 'a' + i
  kept.push(new Function(argument, `return [${(argument + ',').repeat(50_000)}]`)(i))
}
