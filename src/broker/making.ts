/**
 * Making and taking away volumes that are more than a directory of somebody else's. Each begins with an
 * intent in the database and ends with the volume in the catalog; what a crash leaves in between is
 * undone (making) or carried on (removing) at the next start.
 */
import { rm } from 'node:fs/promises'
import { IMAGE_BLOCK_BYTES, LEAST_IMAGE_BYTES } from '../config/limits.ts'
import { BrokerError } from './broker-error.ts'
import { NOBODY, record, type Context } from './context.ts'
import { removeCopy } from './storage/copies.ts'
import { CommandError } from './storage/commands.ts'
import type { Image, Volume } from './types.ts'

export type ImagedVolume = Volume & { readonly image: Image }

export function hasImage(volume: Volume): volume is ImagedVolume {
  return volume.image !== undefined
}

export async function putVolume(context: Context, volume: Volume): Promise<void> {
  const { volumes } = context
  await context.volumeTurns.take(volume.name, async () => {
    const before = volumes.get(volume.name)
    if (before !== undefined && !isSameKind(before, volume))
      throw new BrokerError('exists', `"${volume.name}" is a volume of another kind or size`)
    if (before === undefined && hasImage(volume)) await makeImage(context, volume)
    await volumes.put(volume)
  })
}

/** False: there was none. */
export async function removeVolume(
  context: Context,
  name: string,
  purge: boolean,
): Promise<boolean> {
  const { volumes, table } = context
  return await context.volumeTurns.take(name, async () => {
    const volume = volumes.get(name)
    if (volume === undefined) return false
    const { grants } = table.placedOn(name)
    if (grants > 0) throw new BrokerError('in-use', `"${name}" has ${grants} grants; drain it`)
    if (volume.kind === 'directory') volumes.remove(name)
    else await removeMade(context, volume, !purge)
    return true
  })
}

/** What cannot be changed of a volume that is there. */
function isSameKind(one: Volume, other: Volume): boolean {
  return (
    one.kind === other.kind &&
    one.image?.sizeBytes === other.image?.sizeBytes &&
    one.image?.filesystem === other.image?.filesystem
  )
}

/** BrokerError. Its data is what was kept of a volume of that name, if it has that size. */
async function makeImage(context: Context, volume: ImagedVolume): Promise<void> {
  const { images } = context
  const { name, image } = volume
  checkImage(image)
  const there = await images.sizeOf(name)
  if (there !== undefined && there !== image.sizeBytes)
    throw new BrokerError(
      'exists',
      `an image of ${there} bytes was kept of "${name}": create it with that size, or purge it`,
    )
  await intended(context, volume, there !== undefined, async () => {
    if (there === undefined) await images.make(name, image)
    await images.mount(volume)
  })
  context.log.info({ volume: name, kept: there !== undefined, file: images.file(name) }, 'an image')
}

/** Runs `make` between intent and catalog; what it throws is undone first. */
export async function intended(
  context: Context,
  volume: Volume,
  keepData: boolean,
  make: () => Promise<void>,
): Promise<void> {
  const { store } = context
  store.intents.begin({ volume, what: 'make', keepData })
  try {
    await make()
    store.transaction(() => {
      store.catalog.volumes.put(volume)
      store.intents.end(volume.name)
    })
  } catch (error) {
    await undo(context, volume, keepData)
    throw toProblem(error)
  }
}

async function undo(context: Context, volume: Volume, keepData: boolean): Promise<void> {
  try {
    await takeApart(context, volume, keepData)
    context.store.intents.end(volume.name)
  } catch (error) {
    context.log.error({ err: error, volume: volume.name }, 'a volume that failed stays for now')
  }
}

/** The volume has no grants any more. */
async function removeMade(context: Context, volume: Volume, keepData: boolean): Promise<void> {
  const { store } = context
  store.intents.begin({ volume, what: 'remove', keepData })
  await takeApart(context, volume, keepData)
  store.transaction(() => {
    context.volumes.remove(volume.name)
    store.intents.end(volume.name)
  })
}

/** At the start, before anything is mounted. Sentences on what was done. */
export async function settleVolumes(context: Context): Promise<string[]> {
  const { store, volumes, log } = context
  const said: string[] = []
  for (const { volume, what, keepData } of store.intents.all()) {
    const { name } = volume
    try {
      await takeApart(context, volume, keepData)
      store.transaction(() => {
        if (what === 'remove') volumes.remove(name)
        store.intents.end(name)
      })
      said.push(
        what === 'make'
          ? `undid the volume "${name}": it was never completed`
          : `removed the volume "${name}": it was to go`,
      )
      const action = what === 'make' ? 'volume-put' : 'volume-remove'
      const outcome = what === 'make' ? 'failed' : 'done'
      const reason = 'found at the start'
      record(context, { ...NOBODY, action, outcome, tenant: undefined, subject: name, reason })
    } catch (error) {
      log.error({ err: error, volume: name }, 'a half made volume stays for now')
    }
  }
  return said
}

async function takeApart(
  { images }: Context,
  { name, backing, image, snapshot }: Volume,
  keepData: boolean,
): Promise<void> {
  if (image !== undefined) {
    await images.unmount(name)
    if (keepData) await rm(images.draft(name), { force: true })
    else await images.discard(name)
  } else if (snapshot !== undefined && !keepData) {
    await removeCopy(backing)
  }
}

/** Mounts what should be; the reason why it cannot, else undefined. Also for one that was configured,
 * whose file is made when it is not there. */
export async function provide(
  { images, log }: Context,
  volume: ImagedVolume,
  configured: boolean,
): Promise<string | undefined> {
  const { name, image } = volume
  try {
    const there = await images.sizeOf(name)
    if (there === undefined && configured) {
      checkImage(image)
      await images.make(name, image)
    } else if (there === undefined) return 'its image file is gone'
    else if (there !== image.sizeBytes)
      return `its image has ${there} bytes and not ${image.sizeBytes}: an image keeps its size`
    await images.mount(volume)
    return undefined
  } catch (error) {
    log.warn({ err: error, volume: name }, 'an image is not mounted')
    return error instanceof Error ? error.message : String(error)
  }
}

function checkImage({ sizeBytes, filesystem }: Image): void {
  const least = LEAST_IMAGE_BYTES[filesystem]
  if (sizeBytes < least)
    throw new BrokerError('bad-request', `an image of ${filesystem} has at least ${least} bytes`)
  if (sizeBytes % IMAGE_BLOCK_BYTES !== 0)
    throw new BrokerError('bad-request', `an image has a multiple of ${IMAGE_BLOCK_BYTES} bytes`)
}

/** For operators, who may read what the machine says. */
export function toProblem(error: unknown): unknown {
  if (!(error instanceof CommandError)) return error
  if (/No space left/i.test(error.message))
    return new BrokerError('not-enough-space', `there is no space for it: ${error.message}`)
  return new BrokerError('not-possible', error.message, {}, { cause: error })
}

/** As `provide`, unless somebody makes or removes it now and knows better. */
export async function provideAlone(context: Context, volume: Volume): Promise<string | undefined> {
  const { name } = volume
  if (!hasImage(volume) || context.volumeTurns.has(name)) return undefined
  return await context.volumeTurns.take(name, () =>
    provide(context, volume, context.volumes.isConfigured(name)),
  )
}

export async function unmountImages(
  { images, log }: Context,
  wanted: ReadonlySet<string>,
): Promise<void> {
  for (const name of await images.mounted())
    if (!wanted.has(name))
      await images.unmount(name).catch((error: unknown) => {
        log.error({ err: error, volume: name }, 'an image stays mounted')
      })
}
