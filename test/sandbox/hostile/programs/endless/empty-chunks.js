// Output that never ends and never reaches the bound on output: every chunk is empty.
export default function () {
  emit(
    'empty.txt',
    (function* () {
      for (;;) yield ''
    })(),
  )
}
