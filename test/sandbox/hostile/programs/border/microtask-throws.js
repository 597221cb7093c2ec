// An error in a microtask has no caller to go to.
export default function () {
  queueMicrotask(() => {
    throw new Error('from nowhere')
  })
  return 'value'
}
