emit(
  'flood.txt',
  (function* () {
    const chunk = 'x'.repeat(65_536)
    for (;;) yield chunk
  })(),
)
