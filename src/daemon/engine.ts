/** The engine without a mount, for commands that run or check one program and end. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createCompute } from '../compute/index.ts'
import type { Compute } from '../compute/types.ts'
import { LOCAL_TENANT, SANDBOX_POOL } from '../config/limits.ts'
import type { Volume } from '../file-server/types.ts'
import { openVolume } from '../file-server/volume.ts'
import { createSandbox } from '../sandbox/index.ts'
import type { RunLimits, Sandbox, SandboxOptions } from '../sandbox/types.ts'
import { createLog } from '../telemetry/log.ts'

export interface SandboxScope extends AsyncDisposable {
  readonly sandbox: Sandbox
  /** A folder of its own, removed at the end. */
  readonly scratch: string
}

export async function openSandbox(jail: SandboxOptions['jail']): Promise<SandboxScope> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'insitu-'))
  const undo = new AsyncDisposableStack()
  undo.defer(() => rm(scratch, { recursive: true, force: true }))
  try {
    const sandbox = undo.adopt(
      createSandbox({
        ...SANDBOX_POOL,
        maxWorkers: 1,
        idleWorkers: 1,
        jail,
        spoolDirectory: scratch,
      }),
      (each) => each.close(),
    )
    return { sandbox, scratch, [Symbol.asyncDispose]: () => undo.disposeAsync() }
  } catch (error) {
    await undo.disposeAsync()
    throw error
  }
}

export interface Engine extends AsyncDisposable {
  readonly compute: Compute
  readonly volume: Volume
  readonly scratch: string
}

export interface EngineOptions {
  readonly backing: string
  readonly jail: SandboxOptions['jail']
  readonly limits: RunLimits
}

export async function openEngine({ backing, jail, limits }: EngineOptions): Promise<Engine> {
  const undo = new AsyncDisposableStack()
  try {
    const { sandbox, scratch } = undo.use(await openSandbox(jail))
    const volume = undo.adopt(await openVolume(backing), (each) => each.close())
    const compute = createCompute({
      volume,
      sandbox,
      stateDirectory: path.join(scratch, 'state'),
      limits,
      tenant: LOCAL_TENANT,
      log: createLog({ level: 'silent', human: true, fd: 2 }),
    })
    undo.defer(() => compute.close())
    await compute.start()
    return { compute, volume, scratch, [Symbol.asyncDispose]: () => undo.disposeAsync() }
  } catch (error) {
    await undo.disposeAsync()
    throw error
  }
}
