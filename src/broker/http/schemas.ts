/** The words of the APIs. Bounds on texts stand here; what they mean is checked by `paths.ts`. */
import { Type, type Static, type TSchema } from 'typebox'

const strict = { additionalProperties: false } as const

export const Name = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$',
  description: 'Letters, digits, ".", "_", "-"; begins with a letter or digit.',
})
const Path = Type.String({ maxLength: 4_095 })
const Labels = Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 255 }), {
  maxProperties: 32,
})
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Mode = Type.Union([Type.Literal('ro'), Type.Literal('rw')])
const Seconds = Type.Integer({ minimum: 1, maximum: 10 * 365 * 86_400 })
const Time = Type.String({ format: 'date-time' })

export const MountBody = Type.Object(
  {
    volume: Type.Optional(Name),
    select: Type.Optional(
      Type.Object(
        {
          class: Type.Optional(Name),
          labels: Type.Optional(Labels),
          minFreeBytes: Type.Optional(Bytes),
        },
        { ...strict, description: 'Instead of `volume`: what it should be like.' },
      ),
    ),
    at: Type.String({ maxLength: 4_095, description: "Relative to the tenant's mount." }),
    mode: Type.Optional(Mode),
    subpath: Type.Optional(Path),
    ttl: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10 * 365 * 86_400, description: 'Seconds.' }),
    ),
    quotaBytes: Type.Optional(Bytes),
    compute: Type.Optional(Type.Boolean({ description: 'Programs may run in it.' })),
    dryRun: Type.Optional(Type.Boolean({ description: 'Explain the choice; change nothing.' })),
  },
  strict,
)

const Consumer = {
  tenant: Name,
  pid: Type.Integer({
    minimum: 1,
    maximum: 2 ** 22,
    description: 'In the namespace of the daemon.',
  }),
  startTicks: Type.Optional(
    Type.Integer({
      minimum: 0,
      description: 'When it began: another with that number is refused.',
    }),
  ),
  container: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$' })),
  target: Type.String({ maxLength: 4_095, description: 'Absolute, as that process sees it.' }),
}

export const MountInsideBody = Type.Object(
  { ...Type.Omit(MountBody, ['at', 'dryRun']).properties, ...Consumer },
  strict,
)

export const UnmountInsideBody = Type.Object(
  {
    ...Consumer,
    force: Type.Optional(Type.Boolean({ description: 'Open files get ESTALE.' })),
    waitMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 300_000 })),
  },
  strict,
)

export const UnmountBody = Type.Object(
  {
    at: Type.Optional(Path),
    grant: Type.Optional(Name),
    force: Type.Optional(Type.Boolean({ description: 'Open files get ESTALE.' })),
    waitMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 300_000 })),
  },
  strict,
)

export const ComputeBody = Type.Object(
  {
    directory: Path,
    program: Type.String({ minLength: 1, maxLength: 1024 * 1024 }),
    params: Type.Optional(
      Type.Unknown({ description: 'JSON; the program sees it as the constant `params`.' }),
    ),
    result: Type.Optional(
      Type.String({ minLength: 1, maxLength: 255, description: 'Which one, if it emits several.' }),
    ),
  },
  strict,
)

export const Grant = Type.Object(
  {
    id: Name,
    tenant: Name,
    volume: Name,
    policy: Name,
    at: Path,
    inside: Type.Optional(
      Type.Object(
        { pid: Type.Integer(), container: Type.Optional(Type.String()), target: Path },
        { ...strict, description: "There, and not in the tenant's mount." },
      ),
    ),
    mode: Mode,
    subpath: Path,
    compute: Type.Boolean(),
    revocable: Type.Boolean(),
    quotaBytes: Type.Optional(Bytes),
    createdAt: Time,
    expiresAt: Type.Optional(Time),
    state: Type.Union(
      ['preparing', 'active', 'revoking', 'unavailable', 'drifted'].map((each) =>
        Type.Literal(each),
      ),
    ),
    reason: Type.Optional(Type.String()),
  },
  strict,
)

const Refusal = Type.Object({ code: Type.String(), reason: Type.String() }, strict)
const Score = Type.Object(
  {
    space: Type.Number(),
    serviceLevel: Type.Number(),
    locality: Type.Number(),
    load: Type.Number(),
    total: Type.Number(),
  },
  strict,
)
export const Explanation = Type.Object(
  {
    volume: Name,
    refusal: Type.Optional(Refusal),
    score: Type.Optional(Score),
    declaredP99Us: Type.Optional(Type.Number()),
    measuredP99Us: Type.Optional(Type.Number()),
    operations: Type.Number({ description: 'A second, in the last minute, of all tenants.' }),
  },
  strict,
)

export const DryRun = Type.Object(
  {
    volume: Type.Optional(Name),
    policy: Type.Optional(Name),
    revocable: Type.Optional(Type.Boolean()),
    quotaBytes: Type.Optional(Bytes),
    expiresAt: Type.Optional(Time),
    refusal: Type.Optional(Refusal),
    explanations: Type.Array(Explanation),
  },
  strict,
)

export const ServiceLevel = Type.Object(
  {
    name: Name,
    latencyP99Us: Type.Optional(Bytes),
    throughputMiBps: Type.Optional(Bytes),
    durability: Type.Optional(
      Type.Union(['none', 'single', 'replicated'].map((each) => Type.Literal(each))),
    ),
    locality: Type.Optional(Type.String({ maxLength: 63 })),
  },
  strict,
)

const VolumeState = {
  freeBytes: Bytes,
  totalBytes: Bytes,
  reservedBytes: Bytes,
  grants: Bytes,
  measuredP99Us: Type.Optional(Type.Number()),
  load: Type.Number({ description: 'Operations a second.' }),
  healthy: Type.Boolean(),
  readOnly: Type.Boolean({ description: 'Its filesystem takes no writes now.' }),
  fault: Type.Optional(Type.String({ description: 'Why it is not healthy.' })),
  draining: Type.Boolean(),
}
const Filesystem = Type.Union([Type.Literal('ext4'), Type.Literal('xfs')])
const Id = Type.Integer({ minimum: 0, maximum: 4_294_967_294 })
const Owner = Type.Object({ uid: Id, gid: Id }, strict)

/** As a tenant sees it: nothing of the host, nothing of other tenants. */
export const TenantVolume = Type.Object(
  {
    name: Name,
    class: ServiceLevel,
    labels: Labels,
    modes: Type.Array(Mode),
    freeBytes: Bytes,
    totalBytes: Bytes,
    healthy: Type.Boolean(),
    draining: Type.Boolean(),
    /** For all of it; a subpath may be another matter. */
    ro: Type.Union([Type.Literal('allowed'), Refusal]),
    rw: Type.Union([Type.Literal('allowed'), Refusal]),
  },
  strict,
)

export const VolumeBody = Type.Object(
  {
    name: Name,
    kind: Type.Optional(Type.Union([Type.Literal('directory'), Type.Literal('image')])),
    backing: Type.Optional(
      Type.String({ minLength: 1, maxLength: 4_095, description: 'Of a directory.' }),
    ),
    sizeBytes: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'Of an image; a multiple of 4096.',
      }),
    ),
    filesystem: Type.Optional(Filesystem),
    owner: Type.Optional(Owner),
    class: Type.Optional(ServiceLevel),
    labels: Type.Optional(Labels),
    modes: Type.Optional(Type.Array(Mode, { maxItems: 2 })),
  },
  strict,
)

export const SnapshotBody = Type.Object(
  {
    name: Type.Optional(Name),
    into: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4_095,
        description: 'Of a directory: where the copy is made; on its filesystem, and ours alone.',
      }),
    ),
  },
  strict,
)

export const AdminVolume = Type.Object(
  {
    name: Name,
    kind: Type.String(),
    backing: Path,
    image: Type.Optional(
      Type.Object(
        { sizeBytes: Bytes, filesystem: Filesystem, owner: Type.Optional(Owner) },
        strict,
      ),
    ),
    snapshot: Type.Optional(Type.Object({ of: Name, takenAt: Time }, strict)),
    class: ServiceLevel,
    labels: Labels,
    modes: Type.Array(Mode),
    ...VolumeState,
    configured: Type.Boolean(),
  },
  strict,
)

export const PolicyBody = Type.Object(
  {
    name: Name,
    tenants: Type.Array(Type.String({ maxLength: 63 }), { maxItems: 1_000 }),
    volumes: Type.Object(
      {
        names: Type.Optional(Type.Array(Type.String({ maxLength: 63 }), { maxItems: 1_000 })),
        labels: Type.Optional(Labels),
      },
      strict,
    ),
    modes: Type.Array(Mode, { maxItems: 2 }),
    subpaths: Type.Optional(Type.Array(Path, { maxItems: 100 })),
    maxTtl: Type.Optional(Seconds),
    revocable: Type.Optional(Type.Boolean()),
    maxGrants: Type.Optional(Bytes),
    maxQuotaBytes: Type.Optional(Bytes),
    compute: Type.Optional(Type.Boolean()),
    discoverable: Type.Optional(Type.Boolean()),
  },
  strict,
)

export const TenantBody = Type.Object(
  {
    name: Name,
    ids: Type.Object(
      {
        first: Type.Integer({ minimum: 1, maximum: 4_294_967_294 }),
        count: Type.Integer({ minimum: 1, maximum: 4_294_967_294 }),
      },
      strict,
    ),
    labels: Type.Optional(Labels),
    locality: Type.Optional(Type.String({ maxLength: 63 })),
  },
  strict,
)

export const TenantReport = Type.Object({ name: Name }, { additionalProperties: true })

export const Reconciliation = Type.Object(
  {
    restored: Bytes,
    revoked: Bytes,
    failed: Bytes,
    actions: Type.Array(Type.String()),
  },
  strict,
)

export const Holder = Type.Object(
  {
    pid: Bytes,
    uid: Type.Integer(),
    command: Type.String(),
    how: Type.Union(['open', 'mapped', 'standing'].map((each) => Type.Literal(each))),
  },
  strict,
)

export const AuditRecord = Type.Object(
  {
    id: Bytes,
    at: Time,
    action: Type.String(),
    outcome: Type.String(),
    tenant: Type.Optional(Type.String()),
    uid: Type.Optional(Type.Integer()),
    pid: Type.Optional(Type.Integer()),
    container: Type.Optional(Type.String()),
    subject: Type.Optional(Type.String()),
    reason: Type.Optional(Type.String()),
  },
  strict,
)

export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
  },
  { additionalProperties: true, description: 'RFC 9457; `code` says which.' },
)

export type Body<T extends TSchema> = Static<T>

/** What every operation may answer. */
export function responses<T extends Record<number, TSchema>>(own: T) {
  const problem = {
    description: 'A problem',
    content: { 'application/problem+json': { schema: Problem } },
  }
  return { ...own, '4xx': problem, '5xx': problem }
}
