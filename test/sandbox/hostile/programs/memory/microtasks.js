// The queue itself is the memory: nothing runs until the script is over.
for (;;) queueMicrotask(() => {})
