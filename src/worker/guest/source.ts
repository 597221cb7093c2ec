/**
 * From a program's bytes to JavaScript. Type stripping runs in this process on hostile text: it may
 * break for good (`poisoned`), and the worker is then to be retired.
 */
import { stripTypeScriptTypes } from 'node:module'
import type { GuestError } from '../../sandbox/types.ts'

/** Deeper nesting than people write. The stripper recurses, and its stack is small. */
const MAX_NESTING = 500

const decoder = new TextDecoder('utf-8', { fatal: true })

export interface Place {
  readonly message: string
  readonly line: number | undefined
  readonly column: number | undefined
}

export type Stripped = { readonly code: string } | { readonly error: Place }

let broken = false

/** Stripping no longer works in this process. */
export function stripperBroken(): boolean {
  return broken
}

export function compileError({ message, line, column }: Place): GuestError {
  const text = message.length > 4_000 ? message.slice(0, 4_000) + '…' : message
  const place = line === undefined ? '' : `\n    at program:${line}:${column ?? 1}`
  return {
    name: 'SyntaxError',
    message: text,
    stack: `SyntaxError: ${text}${place}`,
    line,
    column,
  }
}

/** The program's text, or why it is none. */
export function decodeSource(source: Uint8Array): string | Place {
  const nowhere = { line: undefined, column: undefined }
  if (source.length === 0) return { message: 'the program is empty', ...nowhere }
  if (source.includes(0)) return { message: 'the program is binary, not text', ...nowhere }
  try {
    return decoder.decode(source)
  } catch {
    return { message: 'the program is not valid UTF-8', ...nowhere }
  }
}

/** Loads the stripper, so that it needs no file later on. */
export function warmStripper(): void {
  stripTypes('let warm: number = 1')
}

/** Types become spaces, so that lines and columns stay the program's own. */
export function stripTypes(text: string): Stripped {
  if (nestingOf(text) > MAX_NESTING) {
    return {
      error: {
        message: `brackets are nested more than ${MAX_NESTING} deep, too deep to strip types from`,
        line: undefined,
        column: undefined,
      },
    }
  }
  try {
    return { code: stripTypeScriptTypes(text) }
  } catch (error) {
    return { error: stripFailure(error) }
  }
}

/** An upper bound: brackets in strings and comments count too. */
function nestingOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x28 || c === 0x5b || c === 0x7b || c === 0x3c) deepest = Math.max(deepest, ++depth)
    else if ((c === 0x29 || c === 0x5d || c === 0x7d || c === 0x3e) && depth > 0) depth--
  }
  return deepest
}

/** The stripper shows the place as ":LINE", the source up to that line, and a caret below it. */
function stripFailure(error: unknown): Place {
  const { code, message, stack } = error as { code?: unknown; message?: unknown; stack?: unknown }
  if (code !== 'ERR_INVALID_TYPESCRIPT_SYNTAX' && code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    broken = true
    return {
      message: 'the program cannot be read: stripping its types failed',
      line: undefined,
      column: undefined,
    }
  }
  const shown = typeof stack === 'string' ? stack : ''
  const line = /^:(\d+)\n/.exec(shown)?.[1]
  const caret = /^( *)\^+$/m.exec(shown)?.[1]
  return {
    message: typeof message === 'string' ? message : 'it does not compile',
    line: line === undefined ? undefined : Number(line),
    column: caret === undefined ? undefined : caret.length + 1,
  }
}
