/** The reference of `insitu.yaml`, made from its schema so that it cannot be behind. */
import { FileSchema } from './schema.ts'

interface Schema {
  readonly description?: string
  readonly default?: string
  readonly expects?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}

/** A Markdown table; a key of a part is named with what is around it, NAME stands for any name. */
export function configurationReference(): string {
  const rows = [...rowsOf(FileSchema as unknown as Schema, '')]
  const head = ['| key | what it is | if left out |', '|---|---|---|']
  return `${[...head, ...rows].join('\n')}\n`
}

function* rowsOf(schema: Schema, around: string): Generator<string> {
  for (const [name, each] of Object.entries(schema.properties ?? {})) {
    const key = around === '' ? name : `${around}.${name}`
    const required = schema.required?.includes(name) === true
    yield `| \`${key}\` | ${cell(sentence(each))} | ${required ? 'required' : cell(each.default ?? '')} |`
    yield* rowsOf(each, key)
    for (const inner of Object.values(each.patternProperties ?? {}))
      yield* rowsOf(inner, `${key}.NAME`)
  }
}

function sentence({ description, expects, items }: Schema): string {
  const kind = items?.expects === undefined ? expects : `a list of: ${items.expects}`
  const parts = [description, kind === undefined ? undefined : `${upper(kind)}.`]
  return parts.filter((part) => part !== undefined).join(' ')
}

function upper(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** A bar would end the cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
