/** What `native/broker` exports. */
export interface BrokerAddon {
  /** Of a connected Unix socket; throws an Error with `errno`. */
  peerCredentials(fd: number): PeerCredentials
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
