// The loop runs while the engine makes the stack that an error report wants.
Error.prepareStackTrace = () => {
  for (;;);
}
export default function () {
  const error = new Error('look at my stack')
  void error.stack
  throw error
}
