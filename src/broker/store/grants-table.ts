/** Grants as they are promised: written before anything is done, so that a crash leaves an intent. */
import type { AccessMode, ContainerPlace, Grant } from '../types.ts'
import type { Connection, Row } from './connection.ts'

/** `preparing`: promised to nobody yet; `revoking`: to be taken away, whatever happens. */
export type GrantState = 'preparing' | 'active' | 'revoking'

export interface StoredGrant {
  readonly grant: Grant
  readonly state: GrantState
  /** The Idempotency-Key that it came with. */
  readonly requestKey: string | undefined
}

export class GrantsTable {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  all(): StoredGrant[] {
    return this.#connection
      .all(
        `SELECT * FROM grants LEFT JOIN injections ON grant_id = id
         ORDER BY created_at_ms, id`,
      )
      .map(fromRow)
  }

  insert(stored: StoredGrant): void {
    this.#connection.transaction(() => {
      this.#insert(stored)
      const { id, inside } = stored.grant
      if (inside !== undefined) this.#insertInside(id, inside)
    })
  }

  #insert({ grant, state, requestKey }: StoredGrant): void {
    this.#connection.run(
      `INSERT INTO grants (id, tenant, at, volume, policy, mode, subpath, compute, revocable,
         quota_bytes, created_at_ms, expires_at_ms, state, request_key)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      grant.id,
      grant.tenant,
      grant.at,
      grant.volume,
      grant.policy,
      grant.mode,
      grant.subpath,
      Number(grant.compute),
      Number(grant.revocable),
      grant.quotaBytes ?? null,
      grant.createdAtMs,
      grant.expiresAtMs ?? null,
      state,
      requestKey ?? null,
    )
  }

  #insertInside(id: string, { consumer, target }: ContainerPlace): void {
    this.#connection.run(
      `INSERT INTO injections (grant_id, target, container, pid, start_ticks, boot_id, mount_namespace)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
      id,
      target,
      consumer.container ?? null,
      consumer.pid,
      consumer.startTicks,
      consumer.bootId,
      consumer.mountNamespace,
    )
  }

  setState(id: string, state: GrantState): void {
    this.#connection.run('UPDATE grants SET state = ? WHERE id = ?', state, id)
  }

  setTerms(id: string, policy: string, expiresAtMs: number | undefined): void {
    this.#connection.run(
      'UPDATE grants SET policy = ?, expires_at_ms = ? WHERE id = ?',
      policy,
      expiresAtMs ?? null,
      id,
    )
  }

  remove(id: string): void {
    this.#connection.transaction(() => {
      this.#connection.run('DELETE FROM injections WHERE grant_id = ?', id)
      this.#connection.run('DELETE FROM grants WHERE id = ?', id)
    })
  }
}

function fromRow(row: Row): StoredGrant {
  return {
    grant: {
      id: String(row['id']),
      tenant: String(row['tenant']),
      volume: String(row['volume']),
      policy: String(row['policy']),
      at: String(row['at']),
      ...insideOf(row),
      mode: String(row['mode']) as AccessMode, // held by a CHECK
      subpath: String(row['subpath']),
      compute: row['compute'] === 1,
      revocable: row['revocable'] === 1,
      quotaBytes: numberOr(row['quota_bytes']),
      createdAtMs: Number(row['created_at_ms']),
      expiresAtMs: numberOr(row['expires_at_ms']),
    },
    state: String(row['state']) as GrantState,
    requestKey: row['request_key'] === null ? undefined : String(row['request_key']),
  }
}

function insideOf(row: Row): { readonly inside?: ContainerPlace } {
  if (row['grant_id'] === null) return {}
  const consumer = {
    pid: Number(row['pid']),
    startTicks: Number(row['start_ticks']),
    bootId: String(row['boot_id']),
    mountNamespace: String(row['mount_namespace']),
    container: row['container'] === null ? undefined : String(row['container']),
  }
  return { inside: { target: String(row['target']), consumer } }
}

function numberOr(value: unknown): number | undefined {
  return value === null ? undefined : Number(value)
}
