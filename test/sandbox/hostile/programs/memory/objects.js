const kept = []
for (;;) kept.push({ more: kept.length, text: [kept.length] })
