/**
 * Volumes that a container engine made through the plugin, and which mounts of each it counts. The
 * engine's counts do not outlive the machine's boot, so ours do not either.
 */
import type { MountRequest } from '../types.ts'
import type { Connection } from './connection.ts'

export interface PluginVolume {
  /** The engine's. */
  readonly name: string
  readonly tenant: string
  /** Names a volume: what was described was chosen when this was made. */
  readonly request: MountRequest
  /** As they were given, to tell the same request again from another. */
  readonly options: Readonly<Record<string, string>>
  readonly createdAtMs: number
}

export class PluginVolumesTable {
  readonly #connection: Connection
  readonly #bootId: string

  /** Mounts of other boots are forgotten. */
  constructor(connection: Connection, bootId: string) {
    this.#connection = connection
    this.#bootId = bootId
    connection.run('DELETE FROM plugin_mounts WHERE boot_id <> ?', bootId)
  }

  all(): PluginVolume[] {
    return this.#connection
      .all('SELECT record FROM plugin_volumes ORDER BY name')
      .map((row) => JSON.parse(String(row['record'])) as PluginVolume)
  }

  get(name: string): PluginVolume | undefined {
    const row = this.#connection.get('SELECT record FROM plugin_volumes WHERE name = ?', name)
    return row && (JSON.parse(String(row['record'])) as PluginVolume)
  }

  get size(): number {
    return Number(this.#connection.get('SELECT count(*) AS n FROM plugin_volumes')?.['n'] ?? 0)
  }

  insert(volume: PluginVolume): void {
    this.#connection.run(
      'INSERT INTO plugin_volumes VALUES (?, ?)',
      volume.name,
      JSON.stringify(volume),
    )
  }

  /** With its mounts. */
  remove(name: string): void {
    this.#connection.transaction(() => {
      this.#connection.run('DELETE FROM plugin_mounts WHERE volume = ?', name)
      this.#connection.run('DELETE FROM plugin_volumes WHERE name = ?', name)
    })
  }

  mounts(name: string): string[] {
    return this.#connection
      .all('SELECT id FROM plugin_mounts WHERE volume = ? ORDER BY id', name)
      .map((row) => String(row['id']))
  }

  /** The same one again counts once. */
  addMount(name: string, id: string): void {
    this.#connection.run(
      'INSERT OR IGNORE INTO plugin_mounts VALUES (?, ?, ?)',
      name,
      id,
      this.#bootId,
    )
  }

  removeMount(name: string, id: string): void {
    this.#connection.run('DELETE FROM plugin_mounts WHERE volume = ? AND id = ?', name, id)
  }
}
