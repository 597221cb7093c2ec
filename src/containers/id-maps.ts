/**
 * How the ids of a tenant's volumes are shown in a container with a user namespace: the container's id k is
 * the tenant's kth. So its root is the tenant, whatever ids of the host an engine gave it, and never anybody else.
 */

/** Ranges as `VOLUME:HOST:COUNT,…`, for the file server and the helper. */
export interface IdMaps {
  readonly users: string
  readonly groups: string
}

interface Ids {
  readonly first: number
  readonly count: number
}

interface Range {
  readonly inside: number
  readonly host: number
  readonly count: number
}

/**
 * `userIds`, `groupIds`: uid_map and gid_map of the container (user_namespaces(7)). Undefined: they are shown as
 * they are, since the container has the tenant's own. A text: why they cannot be.
 */
export function idMapsFor(
  { userIds, groupIds }: { readonly userIds: string; readonly groupIds: string },
  tenant: Ids,
): IdMaps | string | undefined {
  const [users, groups] = [parse(userIds), parse(groupIds)]
  if (users === undefined || groups === undefined)
    return 'its user namespace has no ids, or more ranges than are looked at'
  if ([...users, ...groups].every((range) => isOf(tenant, range))) return undefined
  const [forUsers, forGroups] = [write(users, tenant), write(groups, tenant)]
  if (forUsers === '' || forGroups === '')
    return 'its user namespace has none of the ids that stand for the tenant'
  return { users: forUsers, groups: forGroups }
}

function isOf({ first, count }: Ids, range: Range): boolean {
  return range.host >= first && range.host + range.count <= first + count
}

function write(ranges: readonly Range[], { first, count }: Ids): string {
  return ranges
    .filter(({ inside }) => inside < count)
    .map((each) => {
      const held = Math.min(each.count, count - each.inside)
      return `${first + each.inside}:${each.host}:${held}`
    })
    .join(',')
}

/** Undefined: none, or cut off. */
function parse(text: string): Range[] | undefined {
  const ranges: Range[] = []
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    const [inside = NaN, host = NaN, count = NaN, ...rest] = line.trim().split(/\s+/).map(Number)
    if (!Number.isSafeInteger(inside + host + count) || rest.length > 0) return undefined
    ranges.push({ inside, host, count })
  }
  return ranges.length === 0 || !text.endsWith('\n') ? undefined : ranges
}
