/** `insitu volume create`, `snapshot` and `remove`: for operators. */
import path from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { formatSize } from '../config/units.ts'
import { adminClient, asking, show } from './broker-client.ts'
import { confirm } from './confirm.ts'
import { CliError, EXIT } from './exit.ts'
import { collect, example, keyAndValue, size } from './options.ts'

export function addMaking(volume: Command): void {
  addCreate(volume)
  addSnapshot(volume)
  addRemove(volume)
}

interface CreateFlags {
  readonly kind: 'directory' | 'image'
  readonly backing?: string
  readonly size?: number
  readonly fs?: 'ext4' | 'xfs'
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly class?: string
  readonly label?: readonly string[]
  readonly readOnly?: true
  readonly json?: true
}

function addCreate(volume: Command): void {
  volume
    .command('create')
    .description('make a volume of a directory that is there, or a filesystem of its own')
    .argument('<name>')
    .addOption(
      new Option('--kind <kind>', 'a directory that is there, or an image file')
        .choices(['directory', 'image'])
        .default('directory'),
    )
    .option('--backing <directory>', 'of a directory: the tree that is granted')
    .option('--size <size>', 'of an image: what it can hold, as 10G', size)
    .addOption(new Option('--fs <type>', 'of an image (default: ext4)').choices(['ext4', 'xfs']))
    .option('--owner <uid[:gid]>', 'of an image: whose its tree is', owner)
    .option('--class <name>', 'its class')
    .option('--label <key=value>', 'may be repeated', collect)
    .option('--read-only', 'only ever mounted ro')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu volume create scratch --kind image --size 10G'))
    .action(async (name: string, flags: CreateFlags) =>
      asking(async () => {
        const body = toBody(name, flags)
        const done = await adminClient().json('/volumes', { method: 'PUT', body })
        show(done, flags.json, () =>
          flags.size === undefined
            ? `${name} is ${body.backing ?? ''}\n`
            : `${name} is ${flags.fs ?? 'ext4'} of ${formatSize(flags.size)}\n`,
        )
      }),
    )
}

function toBody(name: string, flags: CreateFlags) {
  const { kind, backing, fs, owner } = flags
  if (kind === 'directory' && backing === undefined)
    throw new CliError(EXIT.usage, 'give --backing, or --kind image and --size')
  if (kind === 'image' && flags.size === undefined)
    throw new CliError(EXIT.usage, 'an image has a --size')
  return {
    name,
    kind,
    ...(backing === undefined ? {} : { backing: path.resolve(backing) }),
    ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
    ...(fs === undefined ? {} : { filesystem: fs }),
    ...(owner === undefined ? {} : { owner }),
    ...(flags.class === undefined ? {} : { class: { name: flags.class } }),
    labels: Object.fromEntries((flags.label ?? []).map(keyAndValue)),
    ...(flags.readOnly ? { modes: ['ro'] } : {}),
  }
}

function addSnapshot(volume: Command): void {
  volume
    .command('snapshot')
    .description('make a read-only volume of one as it is at one moment')
    .argument('<volume>')
    .argument('[name]', 'of the snapshot (default: the volume and the time)')
    .option('--into <directory>', 'of a directory: where the copy lies, on its filesystem')
    .option('--json', 'as JSON')
    .action(async (of: string, name: string | undefined, { into, json }: SnapshotFlags) =>
      asking(async () => {
        const body = {
          ...(name === undefined ? {} : { name }),
          ...(into === undefined ? {} : { into: path.resolve(into) }),
        }
        const taken = await adminClient().json<{ name: string; how: string }>(
          `/volumes/${encodeURIComponent(of)}/snapshots`,
          { body },
        )
        show(taken, json, () => `${taken.name}: ${taken.how}\n`)
      }),
    )
}

interface SnapshotFlags {
  readonly into?: string
  readonly json?: true
}

function addRemove(volume: Command): void {
  volume
    .command('remove')
    .description('forget a volume without grants; its data stays')
    .argument('<name>')
    .option('--purge', 'remove the image or the copy too; of a directory, nothing ever')
    .option('--yes', 'do not ask')
    .action(async (name: string, { purge, yes }: { purge?: true; yes?: true }) =>
      asking(async () => {
        if (purge && !yes) await confirm(name, 'its image or copy and all that is in it')
        const query = purge ? '?purge=true' : ''
        await adminClient().json(`/volumes/${encodeURIComponent(name)}${query}`, {
          method: 'DELETE',
        })
        process.stdout.write(`${name} is gone${purge ? ', with its data' : ''}\n`)
      }),
    )
}

function owner(text: string): { uid: number; gid: number } {
  const [uid = NaN, gid = uid, ...rest] = text.split(':').map(Number)
  if (rest.length > 0 || !Number.isSafeInteger(uid) || !Number.isSafeInteger(gid) || uid < 0)
    throw new InvalidArgumentError('Give a uid, or uid:gid.')
  return { uid, gid }
}
