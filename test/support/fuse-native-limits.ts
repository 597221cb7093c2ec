/**
 * What the fallback over fuse-native cannot do, suite by suite and test by test; `*` stands for a whole
 * suite. Each is run and must still fail, but for those marked `skip`, which have nothing to run on,
 * hang or fail by chance.
 */
export interface Limit {
  readonly why: string
  readonly skip?: true
}

type Limits = Readonly<Record<string, Readonly<Record<string, Limit>>>>

const ONE_USER = 'it serves one user'
const PAGES = 'all who have a path open share its pages and its size'
const NO_INTERRUPTS = 'a wait ends after 10 s, not by a signal, and keeps others out of .results'

export const LIMITS: Limits = {
  'names on a mount': {
    'any bytes make a name': { why: 'names are in UTF-8' },
    'what a user makes is his, with his umask and the directory’s group': { why: ONE_USER },
    'a user may do through the mount what he may do behind it, and no more': { why: ONE_USER },
  },
  'data on a mount': {
    'holes, ranges and copies': { why: 'no fallocate, no SEEK_HOLE' },
    'O_TMPFILE: no name until it is linked': { why: 'no O_TMPFILE' },
    'extended attributes and ACLs are the backing’s own': { why: 'none on ordinary files' },
    'names of trusted attributes are listed to root only': { why: 'none on ordinary files' },
  },
  mounts: {
    'is nosuid and nodev, and names its backing directory': {
      why: 'libfuse would take a comma in the name for the next option',
    },
    'takes away its own mount only, whatever stands in its place': {
      why: 'umount(8) and fusermount3 go by the name',
    },
    'one user who opens all that he can leaves descriptors for others': { why: ONE_USER },
  },
  'virtual files: .compute': {
    '.query is a stream with cursors of its own': { why: 'no poll' },
    'each version is a node of its own': { why: PAGES, skip: true },
  },
  'virtual files: rights and freshness': {
    'the opener is known with all groups': { why: ONE_USER },
    'results are for whom the set says': { why: ONE_USER },
    'a store to a mapping through the mount is seen, on both kinds of backing': {
      why: 'a store counts once the kernel has written it',
    },
    'a log that grows all the time is answered': {
      why: 'who writes is not known, so growth is a change',
      skip: true,
    },
  },
  'virtual files: waiting': { '*': { why: NO_INTERRUPTS, skip: true } },
  waiting: { '*': { why: NO_INTERRUPTS, skip: true } },
  principals: { '*': { why: ONE_USER, skip: true } },
  secrets: { '*': { why: ONE_USER, skip: true } },
  freshness: {
    'a hole punched, by way of the mount': { why: 'no fallocate' },
    'stores into a mapped file are seen': {
      why: 'a store counts once the kernel has written it',
    },
    'an input that never holds still is said to be so': { why: NO_INTERRUPTS, skip: true },
  },
  results: {
    'an open file keeps its bytes and its attributes': { why: PAGES },
  },
  queries: {
    'concurrent users do not meet': { why: 'one conversation a directory' },
    'a large answer comes whole': { why: 'wc -c believes the size before the answer' },
    'reads that do not block, and poll': { why: 'no poll' },
    'runs with the rights of who opened it': { why: ONE_USER },
  },
}

/** Cases of the POSIX table that come out otherwise. */
export const POSIX_LIMITS: Readonly<Record<string, string>> = {
  'fallocate: collapse, insert': 'no fallocate',
  'utimens: exact, now, omit, links, far past and future':
    'times in milliseconds since 1970; one of the two alone cannot be set',
  'xattr: set, get, list, remove, sizes, flags': 'no extended attributes of ordinary files',
  'acl: access list decides, mask shows in the mode, chmod changes it': 'no ACLs',
  'acl: default list is inherited and replaces the umask': 'no ACLs',
  'lseek: ends, holes, data': 'no SEEK_HOLE, no SEEK_DATA',
  'fallocate: reserve, keep size, punch, zero': 'no fallocate',
  "directories: cwd removed under one's feet": 'a removed directory has no path',
  'create: modes and umask': 'no FIFOs',
  'names: long, odd bytes, dots': 'names are in UTF-8',
  'rmdir: empty, full, file, open directory': 'a removed directory has no path',
  'rename: flags': 'no renameat2',
  'mknod: fifo, socket, devices, regular': 'regular files only',
  'fifo: bytes pass between processes': 'no FIFOs',
  'socket: bind, connect by name, unlink': 'no sockets',
  'O_TMPFILE: nameless, then linked, or never': 'no O_TMPFILE',
  'users: ownership of what is created': ONE_USER,
  'users: reading, writing, searching by mode': ONE_USER,
  'users: groups, also supplementary ones': ONE_USER,
  'users: setgid directories hand down their group': ONE_USER,
  "users: creating with a supplementary group as the directory's": ONE_USER,
  'users: sticky directories': ONE_USER,
  'users: a write by another clears setuid and setgid': ONE_USER,
  'users: chmod and chgrp by the owner': ONE_USER,
  'users: times of a file one may only write': ONE_USER,
  'users: executing': ONE_USER,
  "users: hard links to another's file": ONE_USER,
}
