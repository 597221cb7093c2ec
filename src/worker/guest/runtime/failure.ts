/** What the program threw, in plain bounded text. Guest code may run here (getters of what was
 * thrown), inside the run's time limit; what comes out is strings and numbers of the runtime's. */
import { natives } from './border.ts'
import { record, slice, stringifyJson, toText } from './primordials.ts'

const NAME_LENGTH = 100
const MESSAGE_LENGTH = 4_000
const STACK_LENGTH = 8_000

function textOf(value: unknown, bound: number): string | undefined {
  try {
    const text = typeof value === 'string' ? value : toText(value)
    return text.length > bound ? slice(text, 0, bound) + '…' : text
  } catch {
    return undefined
  }
}

function property(value: object, key: 'name' | 'message'): unknown {
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

/** JSON of a GuestError. */
export function describeFailure(thrown: unknown): string {
  let name = 'Error'
  let message: string
  if (typeof thrown === 'object' && thrown !== null) {
    const theirName = property(thrown, 'name')
    const theirs = property(thrown, 'message')
    if (typeof theirName === 'string' && theirName !== '') name = slice(theirName, 0, NAME_LENGTH)
    message =
      (typeof theirs === 'string' ? textOf(theirs, MESSAGE_LENGTH) : undefined) ??
      textOf(thrown, MESSAGE_LENGTH) ??
      'an object that cannot be shown'
  } else {
    message = `threw ${textOf(thrown, MESSAGE_LENGTH) ?? 'something that cannot be shown'}`
  }
  const { 0: frames, 1: line, 2: column } = natives.whereThrown(thrown)
  const head = `${name}: ${message}`
  const stack = slice(frames === '' ? head : `${head}\n${frames}`, 0, STACK_LENGTH)
  return stringifyJson(record({ name, message, stack, line, column }))
}

export function runtimeFailure(message: string): string {
  const stack = `Error: ${message}`
  return stringifyJson(
    record({ name: 'Error', message, stack, line: undefined, column: undefined }),
  )
}
