/** URLs are parsed by Node's own parser: strings in, strings out. */

/** Browsers refuse longer ones too. */
const URL_LENGTH = 2 * 1024 * 1024

const PARTS = [
  'href',
  'origin',
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
] as const

const SETTABLE: ReadonlySet<string> = new Set(PARTS.filter((part) => part !== 'origin'))

function shown(url: URL): string {
  return JSON.stringify(PARTS.map((part) => url[part]))
}

/** JSON of the parts, or '' if it is no URL. */
export function urlParts(href: unknown, base: unknown): string {
  if (typeof href !== 'string' || href.length > URL_LENGTH) return ''
  if (base !== undefined && (typeof base !== 'string' || base.length > URL_LENGTH)) return ''
  const url = URL.parse(href, base)
  return url === null ? '' : shown(url)
}

/** As urlParts, after one part was assigned to. */
export function urlWithPart(href: unknown, part: unknown, value: unknown): string {
  if (typeof part !== 'string' || !SETTABLE.has(part)) return ''
  if (typeof value !== 'string' || value.length > URL_LENGTH) return ''
  if (typeof href !== 'string' || href.length > URL_LENGTH) return ''
  const url = URL.parse(href)
  if (url === null) return ''
  try {
    url[part as Exclude<(typeof PARTS)[number], 'origin'>] = value
  } catch {
    return ''
  }
  return shown(url)
}
