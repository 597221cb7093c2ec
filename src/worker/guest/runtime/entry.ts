/**
 * The first module of every isolate. The worker's trusted half calls `install` once, `compile` for
 * each source, `run` and then, when the microtasks have run dry, `finish`. All give strings.
 */
import {
  type Bounds,
  type CompileFailure,
  type HostCallList,
  type Natives,
  connect,
  natives,
} from './border.ts'
import { setClock } from './clock.ts'
import { describeFailure, runtimeFailure } from './failure.ts'
import { InputDirectory } from './files.ts'
import { installGlobals } from './globals.ts'
import { record, resolved, stringifyJson, whenSettled } from './primordials.ts'
import { emit, resultFailure, unfinishedResults } from './results.ts'

let settled = false
let failure: string | undefined

export function install(
  n: Natives,
  b: Bounds,
  ...[open, close, stat, list, begin, write, log, seed, url, urlWith]: HostCallList
): void {
  connect(n, { open, close, stat, list, begin, write, log, seed, url, urlWith }, b)
  installGlobals(globalThis, new InputDirectory(''))
}

/**
 * '' if it parses as a script, or else as a module. Otherwise JSON of what is wrong with it as each of
 * the two: {script, module}.
 */
export function compile(source: string, asLibrary: boolean): string {
  const script = natives.compileProgram(source, false, asLibrary)
  if (script === undefined) return ''
  const module = natives.compileProgram(source, true, asLibrary)
  if (module === undefined) return ''
  return stringifyJson(record({ script: placeOf(script), module: placeOf(module) }))
}

function placeOf({ 1: message, 2: line, 3: column }: CompileFailure): object {
  return record({ message, line, column })
}

function fail(error: unknown): void {
  failure ??= describeFailure(error)
}

function settle(value: unknown): void {
  settled = true
  if (value === undefined) return
  try {
    emit('result', value)
  } catch (error) {
    fail(error)
  }
}

/** A program is a function of `dir`, or else the value itself. */
function valueOf(program: unknown, dir: InputDirectory): unknown {
  return typeof program === 'function'
    ? natives.callProgram(program as (dir: object) => unknown, dir)
    : program
}

function rejected(error: unknown): void {
  settled = true
  fail(error)
}

/** Awaits what can be awaited, so that a plain value needs no turn of the microtask queue. */
function follow(value: unknown, done: (value: unknown) => void): void {
  const type = typeof value
  if (value === null || (type !== 'object' && type !== 'function')) return done(value)
  if (typeof (value as { then?: unknown }).then !== 'function') return done(value)
  void whenSettled(resolved(value), done, rejected)
}

export function run(nowMs: number): void {
  setClock(nowMs)
  const dir = new InputDirectory('')
  try {
    const evaluated = natives.evaluateProgram()
    const exports = natives.programNamespace()
    const call = (program: unknown): void => {
      try {
        follow(valueOf(program, dir), settle)
      } catch (error) {
        rejected(error)
      }
    }
    if (exports === undefined) follow(evaluated, call)
    else void whenSettled(evaluated as Promise<unknown>, () => call(exports.default), rejected)
  } catch (error) {
    rejected(error)
  }
}

/** JSON of a GuestError; '' if the program is done. */
export function finish(): string {
  if (failure !== undefined) return failure
  const late = resultFailure()
  if (late !== undefined) return describeFailure(late.error)
  const unhandled = natives.unhandledRejection()
  if (unhandled !== undefined) return describeFailure(unhandled[0])
  if (!settled || unfinishedResults() > 0) {
    return runtimeFailure(
      'the program never settles: it awaits a promise that nothing is left to settle',
    )
  }
  return ''
}

export function dispose(): void {
  natives.forgetProgram()
}
