// Each property of the error is a trap, and none has the type that it should have.
class Trap extends TypeError {
  get name() {
    throw new Error('name')
  }
  get message() {
    return { toString: () => '\u0000'.repeat(1e6) }
  }
  get stack() {
    return new Proxy([], {})
  }
  get code() {
    return 'ENOSPC'
  }
  get cause() {
    return this
  }
}
throw new Trap()
