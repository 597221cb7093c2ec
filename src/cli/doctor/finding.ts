export interface Finding {
  readonly name: string
  /** `note`: it works, less well; `missing`: mounts or guests cannot work. */
  readonly status: 'ok' | 'note' | 'missing'
  readonly found: string
  readonly meaning?: string
  readonly mend?: string
}

export function ok(name: string, found: string): Finding {
  return { name, status: 'ok', found }
}

export function note(name: string, found: string, meaning: string, mend?: string): Finding {
  return { name, status: 'note', found, meaning, ...(mend === undefined ? {} : { mend }) }
}

export function missing(name: string, found: string, meaning: string, mend: string): Finding {
  return { name, status: 'missing', found, meaning, mend }
}
