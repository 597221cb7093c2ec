/** Exit codes, the same in every command, and the error that carries one. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** The guest program did not compile, threw, or crashed its worker. */
  program: 3,
  refused: 4,
  overLimit: 5,
  /** EX_UNAVAILABLE of sysexits(3): this machine lacks something. */
  unavailable: 69,
  timedOut: 124, // as timeout(1)
  interrupted: 130, // 128 + SIGINT, as a shell says it
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Ends a command with one line that says what is wrong and what to do. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

/** One line without control characters, whatever a path or a guest put into the text. */
export function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, '; ').replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
