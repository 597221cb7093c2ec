/** A broker that keeps volumes in image files; whatever it mounted goes with it. */
import path from 'node:path'
import type { GrantBroker } from '../../src/broker/broker.ts'
import { Images } from '../../src/broker/storage/images.ts'
import type { Image, Volume } from '../../src/broker/types.ts'
import { volumeNamed } from './broker-fixtures.ts'
import { BrokerWorld, nobody, policyNamed } from './broker-world.ts'
import { loopFiles, mountsBelow, unmountBelow } from './loop-devices.ts'

export const MiB = 1024 * 1024
export const SMALL: Image = {
  sizeBytes: 32 * MiB,
  filesystem: 'ext4',
  owner: { uid: 1_234, gid: 1_235 },
}

export class ImageWorld implements AsyncDisposable {
  readonly world = new BrokerWorld()
  readonly images: Images

  constructor() {
    const { scratch } = this.world
    this.images = new Images({ state: scratch, runtime: path.join(scratch, 'run') })
  }

  static async create(configured: readonly Volume[] = []): Promise<ImageWorld> {
    const world = new ImageWorld()
    await world.start(configured)
    return world
  }

  get broker(): GrantBroker {
    return this.world.broker
  }

  async start(configured: readonly Volume[] = []): Promise<void> {
    await this.broker.open()
    await this.broker.configure({ volumes: configured, policies: [policyNamed('all')] })
  }

  /** As after a kill: nothing is unmounted and nothing told. */
  async restart(configured: readonly Volume[] = []): Promise<void> {
    this.broker.close()
    this.world.reopen()
    await this.start(configured)
  }

  volume(name: string, image: Image = SMALL): Volume & { image: Image } {
    return volumeOf(this.images, name, image)
  }

  async create(name: string, image?: Image): Promise<string> {
    await this.broker.catalog.putVolume(this.volume(name, image), nobody)
    return this.images.backing(name)
  }

  state(name: string) {
    return this.broker.volumes().find(({ volume }) => volume.name === name)?.state
  }

  /** Mount points and files of loop devices that are there. */
  get standing(): { mounts: string[]; loops: string[] } {
    const { scratch } = this.world
    return { mounts: mountsBelow(scratch), loops: loopFiles(scratch) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    unmountBelow(this.world.scratch)
    this.world.close()
  }
}

function volumeOf(images: Images, name: string, image: Image): Volume & { image: Image } {
  return { ...volumeNamed(name, images.backing(name), { kind: 'image' }), image }
}
