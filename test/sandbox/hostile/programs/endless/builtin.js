// A walk through four thousand million holes inside one builtin.
const holes = []
holes.length = 2 ** 32 - 1
holes[2 ** 32 - 2] = 1
for (;;) holes.indexOf(2)
