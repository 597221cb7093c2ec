// Keeps a chain of microtasks going past the return value and emits from there. What comes before
// the queue is empty is part of the run; nothing may come after.
export default function () {
  let steps = 0
  const later = () => {
    if (++steps < 1000) return void Promise.resolve().then(later)
    globalThis.late = emit
    emit('late.txt', `after ${steps} steps`)
  }
  later()
  return 'the value'
}
