// A program cannot go on by catching the refusal: the run is over its limit, and says so.
for (let i = 0; ; i++)
  try {
    emit(`part-${i}`, new Uint8Array(1024 * 1024))
  } catch {
    continue
  }
