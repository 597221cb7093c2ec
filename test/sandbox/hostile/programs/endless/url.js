// Texts that make quadratic parsers sweat: the run must end, by itself or by the limit.
for (;;) {
  try {
    new URL('http://' + 'a.'.repeat(1e5) + '%' + '@'.repeat(1e5))
  } catch {
    new URLSearchParams('&='.repeat(1e5))
  }
}
