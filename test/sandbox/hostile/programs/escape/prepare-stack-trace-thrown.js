// The stack that is reported must be plain text whatever the program makes of stacks.
Error.prepareStackTrace = () => ({ toString: () => 'FORGED', length: 1e9 })
export default function () {
  throw new Error('plain')
}
