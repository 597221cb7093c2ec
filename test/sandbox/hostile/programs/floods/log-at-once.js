console.log('x'.repeat(1e8))
console.error(new Array(1e6).fill('x'))
console.log(...new Array(10_000).fill('y'.repeat(1000)))
;('held')
