// A result begun while another is half written: neither may get the other's bytes.
export default function () {
  emit(
    'outer',
    (function* () {
      yield 'a'
      emit('inner', 'INNER')
      yield 'b'
      try {
        emit('outer', 'again')
      } catch {
        yield 'c'
      }
    })(),
  )
}
