/** What `native/broker` exports. */
export interface BrokerAddon {
  /** Of a connected Unix socket; throws an Error with `errno`. */
  peerCredentials(fd: number): PeerCredentials
  /** As above; no more than who it is. */
  peerUid(fd: number): number
  /** Accepts what waits at a listening Unix socket and closes what these users connected, until another's
   * comes: `next` is its descriptor, else -1. `most` are closed at a time. */
  turnAway(
    listening: number,
    uids: Uint32Array,
    most: number,
  ): { readonly closed: number; readonly next: number }
}

/** As they were at connect(2), in the daemon's user and pid namespaces. */
export interface PeerCredentials {
  readonly uid: number
  readonly gid: number
  /** 0: not visible from here. */
  readonly pid: number
  readonly groups: readonly number[]
  /** `/proc/PID/cgroup` and `comm`; left out when the process is gone: the number may be another's. */
  readonly cgroup?: string
  readonly command?: string
}
