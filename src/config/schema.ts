/**
 * What `insitu.yaml` may hold. `expects` completes "expected …" where a value is wrong, and stands in
 * the reference; sizes, durations and ranges are kept as people write them and converted afterwards.
 */
import { Type, type Static, type TSchema } from 'typebox'
import { DEFAULT_COMPUTE_LIMITS, DEFAULT_RUN_LIMITS } from './limits.ts'
import { formatDuration, formatSize } from './units.ts'

/** Of tenants, volumes, policies and classes. */
export const NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'

interface Told {
  /** For the reference: what holds if it is left out. */
  readonly default?: string
  readonly description?: string
}

const closed = { additionalProperties: false }

function scalar(pattern: string, expects: string, told: Told) {
  return Type.Unsafe<string | number>({ type: ['string', 'integer'], pattern, expects, ...told })
}

const size = (told: Told) =>
  scalar('^[0-9]+(\\.[0-9]+)?\\s*[kmgtKMGT]?([iI]?[bB])?$', 'a size, as 64M or 1.5GiB', told)

const duration = (told: Told) =>
  scalar('^[0-9]+(\\.[0-9]+)?\\s*(ms|s|m|h|d)?$', 'a duration, as 500ms, 30s, 2m, 12h or 7d', told)

const text = (pattern: string, expects: string, told: Told) =>
  Type.String({ pattern, expects, ...told })

const absolutePath = (told: Told) => text('^/[^\\u0000]*$', 'an absolute path', told)

const name = (told: Told) =>
  text(
    NAME_PATTERN,
    'a name: letters, digits, ".", "_" and "-", at most 63, beginning with a letter or digit',
    told,
  )

const count = (told: Told, minimum = 1, maximum = 1_000_000) =>
  Type.Integer({ minimum, maximum, expects: `a number from ${minimum} to ${maximum}`, ...told })

const flag = (told: Told) => Type.Boolean({ expects: 'true or false', ...told })

function oneOf<const T extends string>(values: readonly T[], told: Told) {
  return Type.Unsafe<T>({ type: 'string', enum: values, expects: values.join(' or '), ...told })
}

function list<T extends TSchema>(items: T, told: Told) {
  return Type.Array(items, { expects: 'a list', uniqueItems: true, ...told })
}

function named<T extends TSchema>(items: T, told: Told) {
  return Type.Record(Type.String({ pattern: NAME_PATTERN }), items, {
    ...closed,
    expects: 'names, each with what belongs to it',
    ...told,
  })
}

const labels = (told: Told) =>
  named(Type.String({ expects: 'a text (quote numbers and true or false)', maxLength: 255 }), told)

const runs = DEFAULT_RUN_LIMITS
const compute = DEFAULT_COMPUTE_LIMITS

const Limits = (told: Told) =>
  Type.Object(
    {
      wall: Type.Optional(
        duration({ default: formatDuration(runs.wallMs), description: 'Longest run.' }),
      ),
      cpu: Type.Optional(
        duration({ default: 'as wall', description: 'Most processor time of a run.' }),
      ),
      memory: Type.Optional(
        size({ default: formatSize(runs.memoryBytes), description: 'Most memory of a run.' }),
      ),
      output: Type.Optional(
        size({ default: formatSize(runs.outputBytes), description: 'All results of a run.' }),
      ),
      resultFiles: Type.Optional(
        count({ default: String(runs.resultFiles), description: 'Results of a run.' }),
      ),
      log: Type.Optional(
        size({ default: formatSize(runs.logBytes), description: 'What a run may print.' }),
      ),
      program: Type.Optional(
        size({ default: formatSize(runs.programBytes), description: 'Size of a program.' }),
      ),
      inputs: Type.Optional(
        count({ default: String(runs.inputs), description: 'Files that a run looks at.' }),
      ),
      programs: Type.Optional(
        count({ default: String(compute.programs), description: 'Attached programs.' }),
      ),
      concurrentRuns: Type.Optional(
        count(
          { default: String(compute.concurrentRuns), description: 'Runs at a time.' },
          1,
          1_000,
        ),
      ),
      queuedRuns: Type.Optional(
        count({
          default: String(compute.queuedRuns),
          description: 'Runs that wait, of each of its users.',
        }),
      ),
      stored: Type.Optional(
        size({
          default: formatSize(compute.storedBytes),
          description: 'Results that are kept; the longest unused are computed again.',
        }),
      ),
      sources: Type.Optional(
        size({
          default: formatSize(compute.sourcesBytes),
          description: 'All programs together; more are refused.',
        }),
      ),
      logs: Type.Optional(
        size({
          default: formatSize(compute.logsBytes),
          description: 'What the last runs of all printed; the oldest are left out.',
        }),
      ),
    },
    { ...closed, expects: 'limits', ...told },
  )

const TenantSchema = Type.Object(
  {
    ids: scalar('^[0-9]{1,10}(-[0-9]{1,10})?$', 'a range of ids, as 100000-165535', {
      description: 'Host uids and gids that are the tenant’s; in nobody else’s range, and not 0.',
    }),
    home: Type.Optional(
      absolutePath({
        default: 'a directory of its own below `state`',
        description: 'An existing directory that the mount serves.',
      }),
    ),
    mountPoint: Type.Optional(
      absolutePath({
        default: 'RUNTIME/homes/NAME',
        description: 'Where its home is mounted; made if it is not there.',
      }),
    ),
    labels: Type.Optional(labels({ description: 'For operators.' })),
    locality: Type.Optional(
      name({ description: 'Where it runs; volumes of the same locality are preferred.' }),
    ),
    share: Type.Optional(
      count(
        {
          default: '1',
          description: 'Of `workers`, when others wait too: 2 is twice as many as 1.',
        },
        1,
        100,
      ),
    ),
    limits: Type.Optional(Limits({ default: 'as `limits` above', description: 'Its own limits.' })),
  },
  { ...closed, expects: 'a tenant' },
)

const VolumeSchema = Type.Object(
  {
    kind: Type.Optional(
      oneOf(['directory', 'image'], {
        default: 'directory',
        description: 'A directory that is there, or a filesystem of its own in a file.',
      }),
    ),
    path: Type.Optional(
      absolutePath({
        description: 'Of a directory, and required: the tree that is granted; in no other volume.',
      }),
    ),
    size: Type.Optional(
      size({ description: 'Of an image, and required: its capacity, kept as it was made.' }),
    ),
    filesystem: Type.Optional(
      oneOf(['ext4', 'xfs'], { default: 'ext4', description: 'Of an image.' }),
    ),
    owner: Type.Optional(
      scalar('^[0-9]{1,10}(:[0-9]{1,10})?$', 'a uid, or uid:gid', {
        default: '0:0',
        description: 'Of an image: whose its tree is when it is made.',
      }),
    ),
    class: Type.Optional(
      Type.Object(
        {
          name: name({ description: 'As `fast` or `archive`.' }),
          latencyP99: Type.Optional(
            duration({ description: 'Declared 99th percentile of an operation, from 1ms.' }),
          ),
          throughput: Type.Optional(size({ description: 'Declared, each second.' })),
          durability: Type.Optional(
            oneOf(['none', 'single', 'replicated'], { description: 'What outlives what.' }),
          ),
          locality: Type.Optional(name({ description: 'Where the bytes are.' })),
        },
        { ...closed, expects: 'a class, as { name: fast }', description: 'Its service level.' },
      ),
    ),
    labels: Type.Optional(labels({ description: 'What policies and requests choose by.' })),
    modes: Type.Optional(
      list(oneOf(['ro', 'rw'], {}), {
        default: '[ro, rw]',
        description: 'What the backing itself allows.',
      }),
    ),
  },
  { ...closed, expects: 'a volume' },
)

const PolicySchema = Type.Object(
  {
    tenants: list(text(`^\\*$|${NAME_PATTERN}`, 'the name of a tenant, or *', {}), {
      description: 'Whom it is for; `"*"` is all.',
    }),
    volumes: Type.Object(
      {
        names: Type.Optional(
          list(text(`^\\*$|${NAME_PATTERN}`, 'the name of a volume, or *', {}), {
            description: 'Which ones; `"*"` is all.',
          }),
        ),
        labels: Type.Optional(labels({ description: 'Those that have all of these.' })),
      },
      {
        ...closed,
        expects: 'names, labels, or both',
        description: 'Names and labels must both fit; at least one of them is given.',
      },
    ),
    modes: list(oneOf(['ro', 'rw'], {}), { description: 'What it allows.' }),
    subpaths: Type.Optional(
      list(text('^(?!/)[^\\u0000]*$', 'a path below the volume', {}), {
        default: '[""], all of it',
        description: 'Paths below the volume that may be granted, with what is in them.',
      }),
    ),
    maxTtl: Type.Optional(
      duration({ default: 'no bound', description: 'Grants must end by then.' }),
    ),
    revocable: Type.Optional(
      flag({
        default: 'true',
        description: 'False: full speed, and not taken back while something is open.',
      }),
    ),
    maxGrants: Type.Optional(
      count({ default: '64', description: 'Of a tenant by this policy at a time.' }, 1, 16_384),
    ),
    maxQuota: Type.Optional(size({ default: 'no bound', description: 'Largest quota.' })),
    compute: Type.Optional(
      flag({ default: 'false', description: 'May programs run in what is granted?' }),
    ),
    discoverable: Type.Optional(
      flag({
        default: 'false',
        description: 'Tell a tenant of volumes that it may not mount, and why.',
      }),
    ),
  },
  { ...closed, expects: 'a policy' },
)

export const FileSchema = Type.Object(
  {
    state: Type.Optional(
      absolutePath({
        default: '/var/lib/insitu',
        description: 'Homes, programs, results, grants: what a backup holds.',
      }),
    ),
    runtime: Type.Optional(
      absolutePath({ default: '/run/insitu', description: 'Sockets and mount points.' }),
    ),
    workers: Type.Optional(
      count(
        {
          default: '4',
          description: 'Jailed processes for the programs of all tenants, who take turns.',
        },
        1,
        256,
      ),
    ),
    threads: Type.Optional(
      count({ default: '4', description: 'Of each mount; each may block in its backing.' }, 2, 16),
    ),
    plugin: Type.Optional(
      Type.Object(
        {
          socket: Type.Optional(
            text('^/[^\\u0000]{1,106}$', 'an absolute path of at most 107 bytes', {
              default: '/run/docker/plugins/insitu.sock',
              description: 'For root alone; Docker finds the default by itself.',
            }),
          ),
          tenant: Type.Optional(
            name({
              default: 'none',
              description: 'Whose volumes they are without -o tenant=NAME.',
            }),
          ),
        },
        {
          ...closed,
          expects: 'a socket, a tenant, or {}',
          default: 'not served',
          description: 'The volume plugin for Docker and podman.',
        },
      ),
    ),
    https: Type.Optional(
      Type.Object(
        {
          listen: text(
            '^([0-9.]{7,15}|\\[[0-9a-fA-F:]{2,39}\\]):[0-9]{1,5}$',
            'an address and a port, as 127.0.0.1:8443 or [::1]:8443',
            { description: 'One port for all tenants.' },
          ),
          beyondLoopback: Type.Optional(
            flag({
              default: 'false',
              description: 'May the address be another one than the loopback’s?',
            }),
          ),
          names: Type.Optional(
            list(text('^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$', 'a DNS name or an address', {}), {
              default: '[]',
              description: 'Of the server, beside localhost, its addresses and TENANT.localhost.',
            }),
          ),
        },
        {
          ...closed,
          expects: 'an address to listen at',
          default: 'not served',
          description: 'The tenants’ API with TLS, for clients with a certificate.',
        },
      ),
    ),
    limits: Type.Optional(Limits({ description: 'Of each tenant that does not say otherwise.' })),
    tenants: Type.Optional(named(TenantSchema, { description: 'Who is served.' })),
    volumes: Type.Optional(named(VolumeSchema, { description: 'What can be granted.' })),
    policies: Type.Optional(
      named(PolicySchema, {
        description: 'Who may have which volume, and how. What no policy allows is refused.',
      }),
    ),
  },
  { ...closed, expects: 'the keys of insitu.yaml' },
)

export type File = Static<typeof FileSchema>
export type FileLimits = NonNullable<File['limits']>
