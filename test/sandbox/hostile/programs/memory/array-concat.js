// Growth by doubling inside one builtin: aborts a process that bounds the heap by checks alone.
let array = [1.5]
for (;;) array = array.concat(array)
