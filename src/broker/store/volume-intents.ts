/** Volumes that are being made or taken away: written before anything is done, so that a crash leaves
 * an intent. */
import type { Volume } from '../types.ts'
import type { Connection } from './connection.ts'

export interface VolumeIntent {
  readonly volume: Volume
  readonly what: 'make' | 'remove'
  /** Of `make`: its data was there before, and stays. Of `remove`: it stays too. */
  readonly keepData: boolean
}

export class VolumeIntents {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  all(): VolumeIntent[] {
    return this.#connection.all('SELECT * FROM volume_intents ORDER BY volume').map((row) => ({
      volume: JSON.parse(String(row['record'])) as Volume,
      what: row['what'] === 'make' ? 'make' : 'remove', // held by a CHECK
      keepData: row['keep_data'] === 1,
    }))
  }

  begin({ volume, what, keepData }: VolumeIntent): void {
    this.#connection.run(
      'INSERT OR REPLACE INTO volume_intents VALUES (?, ?, ?, ?)',
      volume.name,
      what,
      Number(keepData),
      JSON.stringify(volume),
    )
  }

  end(name: string): void {
    this.#connection.run('DELETE FROM volume_intents WHERE volume = ?', name)
  }
}
