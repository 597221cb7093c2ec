// Nobody handles these; they must not take the worker with them.
export default function () {
  for (let i = 0; i < 1000; i++) Promise.reject(new Error(`unhandled ${i}`))
  return 'held'
}
