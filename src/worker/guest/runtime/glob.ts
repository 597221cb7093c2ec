/**
 * Globs, matched segment by segment while walking, so that only directories which can hold a match
 * are listed. Time is bounded by the product of pattern and name lengths: no pattern hangs.
 *
 * `*` and `?` stand for anything within a name, `**` as a whole segment for any directories,
 * `[a-z]` and `[!a-z]` for one character, `{a,b}` for alternatives, `\` takes the next literally.
 * A leading dot must be written out, as in a shell. Links to directories are not followed by `**`.
 */
import {
  Map,
  RangeError,
  charCodeAt,
  isArray,
  mapGet,
  mapSet,
  min,
  pop,
  push,
  slice,
  split,
} from './primordials.ts'

const MAX_PATTERN_LENGTH = 4_096 // a path is no longer
const MAX_ALTERNATIVES = 1_000 // `{a,b}` multiply
const MAX_DEPTH = 64 // of `**`; deeper trees are listed by their directories

type Token =
  | { kind: 'literal'; text: string }
  | { kind: 'any' | 'star' }
  | { kind: 'class'; negated: boolean; ranges: [low: string, high: string][] }

type Segment = 'globstar' | Token[]

/** By their UTF-8 bytes, which is the order of their code points. */
export function compareNames(a: string, b: string): number {
  const length = min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    let x = charCodeAt(a, i)
    let y = charCodeAt(b, i)
    if (x === y) continue
    // Surrogates stand for what sorts after all other units.
    if (x >= 0xd800 && y >= 0xd800) {
      x += x >= 0xe000 ? -0x800 : 0x2000
      y += y >= 0xe000 ? -0x800 : 0x2000
    }
    return x - y
  }
  return a.length - b.length
}

/** `a{b,c}d` → `abd`, `acd`; nested and repeated. An unclosed brace is a literal. */
export function expandBraces(pattern: string): string[] {
  const done: string[] = []
  const todo = [pattern]
  for (;;) {
    const next = pop(todo)
    if (next === undefined) return done
    const parts = firstBraces(next)
    if (parts === undefined) push(done, next)
    else {
      for (let i = parts.alternatives.length - 1; i >= 0; i--) {
        push(todo, parts.before + (parts.alternatives[i] as string) + parts.after)
      }
    }
    if (todo.length + done.length > MAX_ALTERNATIVES) {
      throw new RangeError(`the pattern stands for more than ${MAX_ALTERNATIVES} patterns`)
    }
  }
}

function firstBraces(
  pattern: string,
): { before: string; alternatives: string[]; after: string } | undefined {
  let depth = 0
  let open = -1
  let from = -1
  let alternatives: string[] = []
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]
    if (c === '\\') i++
    else if (c === '{') {
      if (depth++ === 0) {
        open = i
        from = i + 1
        alternatives = []
      }
    } else if (depth > 0 && c === ',' && depth === 1) {
      push(alternatives, slice(pattern, from, i))
      from = i + 1
    } else if (depth > 0 && c === '}' && --depth === 0) {
      if (alternatives.length === 0) continue
      push(alternatives, slice(pattern, from, i))
      return { before: slice(pattern, 0, open), alternatives, after: slice(pattern, i + 1) }
    }
  }
  return undefined
}

function parseSegment(text: string): Segment {
  if (text === '**') return 'globstar'
  const tokens: Token[] = []
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    if (c === '*') {
      if (tokens[tokens.length - 1]?.kind !== 'star') push(tokens, { kind: 'star' })
    } else if (c === '?') push(tokens, { kind: 'any' })
    else if (c === '[') {
      const parsed = parseClass(text, i)
      if (parsed === undefined) push(tokens, { kind: 'literal', text: c })
      else {
        push(tokens, parsed.token)
        i = parsed.end
      }
    } else {
      if (c === '\\' && i + 1 < text.length) i++
      const point = characterAt(text, i)
      push(tokens, { kind: 'literal', text: point })
      i += point.length - 1
    }
  }
  return tokens
}

function parseClass(text: string, start: number): { token: Token; end: number } | undefined {
  const negated = text[start + 1] === '!' || text[start + 1] === '^'
  const ranges: [string, string][] = []
  const first = start + (negated ? 2 : 1)
  for (let i = first; i < text.length;) {
    if (text[i] === ']' && i > first) return { token: { kind: 'class', negated, ranges }, end: i }
    if (text[i] === '\\' && i + 1 < text.length) i++
    const low = characterAt(text, i)
    i += low.length
    let high = low
    if (text[i] === '-' && i + 1 < text.length && text[i + 1] !== ']') {
      high = characterAt(text, i + 1)
      i += 1 + high.length
    }
    push(ranges, [low, high])
  }
  return undefined
}

/** One code point. */
function characterAt(text: string, index: number): string {
  const unit = charCodeAt(text, index)
  const next = charCodeAt(text, index + 1)
  const pair = unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000
  return slice(text, index, index + (pair ? 2 : 1))
}

function matchesOne(token: Token, character: string): boolean {
  if (token.kind === 'literal') return token.text === character
  if (token.kind !== 'class') return true
  for (let i = 0; i < token.ranges.length; i++) {
    const { 0: low, 1: high } = token.ranges[i] as [string, string]
    if (compareNames(low, character) <= 0 && compareNames(character, high) <= 0) {
      return !token.negated
    }
  }
  return token.negated
}

/** Going back to the last star only is enough: what an earlier one could take, the last can too. */
export function matchesName(tokens: readonly Token[], name: string): boolean {
  const first = tokens[0]
  if (name[0] === '.' && !(first?.kind === 'literal' && first.text === '.')) return false
  let token = 0
  let at = 0
  let star = -1
  let starAt = 0
  while (at < name.length) {
    const current = tokens[token]
    const character = characterAt(name, at)
    if (current?.kind === 'star') {
      star = token++
      starAt = at
    } else if (current !== undefined && matchesOne(current, character)) {
      token++
      at += character.length
    } else if (star >= 0) {
      starAt += characterAt(name, starAt).length
      at = starAt
      token = star + 1
    } else return false
  }
  while (tokens[token]?.kind === 'star') token++
  return token === tokens.length
}

function parsePattern(pattern: string): Segment[] {
  const segments: Segment[] = []
  const parts = split(pattern, '/')
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string
    if (part === '' || part === '.' || part === '..') {
      throw new RangeError(`the pattern '${slice(pattern, 0, 100)}' leads out of this directory`)
    }
    const segment = parseSegment(part)
    const previous = segments[segments.length - 1]
    if (!(segment === 'globstar' && previous === 'globstar')) push(segments, segment)
  }
  return segments
}

/** The one name that a segment without wildcards stands for. */
function literalOf(tokens: readonly Token[]): string | undefined {
  let text = ''
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token
    if (token.kind !== 'literal') return undefined
    text += token.text
  }
  return text
}

/**
 * Paths below the directory which match and are `wanted`, in no order. `list` gives the entries of
 * a directory, '' for the first.
 */
export function globWalk(
  pattern: string,
  list: (path: string) => readonly [name: string, kind: string][],
  wanted: (path: string, kind: string) => boolean,
): string[] {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new RangeError(`the pattern is longer than ${MAX_PATTERN_LENGTH} characters`)
  }
  const listings = new Map<string, readonly [string, string][]>()
  const entriesOf = (path: string): readonly [string, string][] => {
    let entries = mapGet(listings, path) as readonly [string, string][] | undefined
    if (entries === undefined) mapSet(listings, path, (entries = list(path)))
    return entries
  }
  // A path is judged once, though alternatives or `**` may reach it in several ways.
  const seen = new Map<string, boolean>()
  const found: string[] = []
  const patterns = expandBraces(pattern)
  for (let p = 0; p < patterns.length; p++) {
    const segments = parsePattern(patterns[p] as string)
    const todo: [path: string, segment: number, depth: number][] = [['', 0, 0]]
    const visited = new Map<string, boolean>()
    for (;;) {
      const next = pop(todo)
      if (next === undefined) break
      const { 0: path, 1: index, 2: depth } = next
      const key = `${index}:${path}`
      if (mapGet(visited, key) === true) continue
      mapSet(visited, key, true)
      const segment = segments[index] as Segment
      const final = index === segments.length - 1
      const globstar = !isArray(segment)
      if (globstar && !final) push(todo, [path, index + 1, depth])
      if (depth > MAX_DEPTH) throw new RangeError(`** goes deeper than ${MAX_DEPTH} directories`)
      const entries = entriesOf(path)
      const literal = isArray(segment) ? literalOf(segment) : undefined
      for (let i = 0; i < entries.length; i++) {
        const { 0: name, 1: kind } = entries[i] as [string, string]
        if (literal !== undefined ? name !== literal : false) continue
        if (globstar ? name[0] === '.' : literal === undefined && !matchesName(segment, name)) {
          continue
        }
        const below = path === '' ? name : `${path}/${name}`
        if (final && mapGet(seen, below) === undefined) {
          const take = wanted(below, kind)
          mapSet(seen, below, take)
          if (take) push(found, below)
        }
        if (kind !== 'directory') continue
        if (globstar) push(todo, [below, index, depth + 1])
        else if (!final) push(todo, [below, index + 1, depth + 1])
      }
    }
  }
  return found
}
