const kept = []
for (;;) kept.push(new Array(1e7).fill(kept.length))
