/** A volume that a test or bench says no more of than it cares about. */
import type { Volume } from '../../src/broker/types.ts'

export function volumeNamed(name: string, backing: string, change: Partial<Volume> = {}): Volume {
  return {
    name,
    kind: 'directory',
    backing,
    class: {
      name: 'fast',
      latencyP99Us: undefined,
      throughputMiBps: undefined,
      durability: undefined,
      locality: undefined,
    },
    labels: {},
    modes: ['ro', 'rw'],
    draining: false,
    ...change,
  }
}
