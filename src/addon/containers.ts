/** What `native/containers` exports. */
export interface ContainersAddon {
  /** Undefined: there is no such process. */
  identifyProcess(pid: number): ProcessIdentity | undefined
  /** The oldest process in that mount namespace. Calls of one lane wait for each other. */
  findProcess(
    lane: number,
    mountNamespace: string,
  ): Promise<{ readonly pid: number; readonly startTicks: number } | undefined>
  /** Of the helper `program`, which ends by itself. `root`: a descriptor that it gets, or -1. Calls of one lane wait for
   * each other. `status` -1: it was killed. */
  runAttach(
    lane: number,
    program: string,
    words: readonly string[],
    root: number,
  ): Promise<{ readonly status: number; readonly out: string; readonly err: string }>
  /** Has one wait for the next call, unless one does. */
  prepareAttach(lane: number, program: string): Promise<void>
  /** Throws when the process with that number is not the one that began then. */
  readonly ProcessWatch: new (
    pid: number,
    startTicks: number,
    onEnd: () => void,
  ) => { close(): void }
}

export interface ProcessIdentity {
  /** After the boot; with the number, of no other process. */
  readonly startTicks: number
  /** A number that no other namespace is given; "0": it cannot be told. */
  readonly mountNamespace: string
  /** `/proc/PID/cgroup`. */
  readonly cgroup: string
  /** `/proc/PID/status`, its first page. */
  readonly status: string
  /** Its mount namespace belongs to another user namespace than ours. */
  readonly ownRoot: boolean
  /** `/proc/PID/uid_map` and `gid_map`, the first page of each. */
  readonly userIds: string
  readonly groupIds: string
}
