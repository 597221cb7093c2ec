/** Source text that attacks whoever parses it: type stripping and the engine's own parser. */
import { arena } from './arena.ts'
import { rejected, type Attack, type Expected } from './attack.ts'

const MiB = 1024 * 1024
const tooDeep: readonly Expected[] = [
  rejected(/./),
  // A parser that copes leaves a program which does not.
  { status: 'failed', phase: 'run', message: /./ },
]

const bomb = (
  program: string,
  source: () => string | Uint8Array,
  expected: Expected | readonly Expected[] = tooDeep,
): Attack => ({ program, source, layer: 'worker', expected })

arena('parsers', [
  // This much breaks type stripping for the life of its process.
  bomb('parentheses, five thousand', () => '('.repeat(5_000)),
  bomb('parentheses, balanced', () => `${'('.repeat(50_000)}1${')'.repeat(50_000)}`),
  bomb('brackets, a megabyte', () => '['.repeat(MiB - 1)),
  bomb('braces, a megabyte', () => '{'.repeat(MiB - 1)),
  bomb('functions in functions', () => '(()=>'.repeat(100_000) + '1' + ')'.repeat(100_000)),
  bomb('unary operators', () => '!'.repeat(MiB - 2) + '1', [
    rejected(/./),
    { status: 'failed', phase: 'run', message: /./ },
    { status: 'ok', results: {} },
  ]),
  bomb('binary operators', () => '1' + '+1'.repeat(MiB / 2 - 2), [
    rejected(/./),
    { status: 'failed', phase: 'run', message: /./ },
    { status: 'ok', results: { result: `${MiB / 2 - 1}\n` } },
  ]),
  bomb('templates in templates', () => '`${'.repeat(100_000) + '1' + '}`'.repeat(100_000)),
  bomb('generic types', () => `let x: ${'Array<'.repeat(100_000)}1${'>'.repeat(100_000)}`),
  bomb('conditional types', () => `type T<A> = ${'A extends A ? '.repeat(60_000)}`),
  bomb('open angle brackets', () => 'a' + '<'.repeat(50_000)),
  bomb('nested classes', () => 'class A { a = '.repeat(50_000)),
  bomb('optional chains', () => 'a' + '?.a'.repeat(300_000), [
    rejected(/./),
    { status: 'failed', phase: 'run', message: /./ },
  ]),
  bomb('a regular expression of groups', () => `/${'('.repeat(200_000)}${')'.repeat(200_000)}/`),
  bomb('an unclosed comment', () => '/*'.repeat(500_000)),
  bomb('an unclosed template', () => '`' + 'x'.repeat(MiB - 10)),
  bomb('one name of a megabyte', () => 'x'.repeat(MiB - 1)),
  bomb('no text at all', () => new Uint8Array(0)),
  bomb('a NUL', () => 'export default 1\0'),
  bomb('not UTF-8', () => new Uint8Array([0x31, 0xff, 0xfe, 0x80])),
  bomb('an ELF binary', () => new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0])),
  bomb('more than a program may have', () => '1'.repeat(MiB + 1), {
    status: 'over-limit',
    limit: 'program',
  }),
  bomb('a return outside', () => 'return 1'),
  bomb('the end of a wrapper', () => '}); globalThis.out = 1; (() => {'),
  bomb('the end of a wrapper and a comment', () => '}}}})))); //'),
  bomb('two default exports', () => 'export default 1\nexport default 2'),
])
