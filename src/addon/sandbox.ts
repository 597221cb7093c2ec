/** What `native/sandbox` exports to the daemon. */
export interface SandboxAddon {
  readonly sandbox: {
    readonly Channel: new (
      fd: number,
      onFrame: (frame: Buffer) => void,
      onEnd: (why: string) => void,
    ) => NativeChannel
    /** `id`: its uid and gid, 0 when they are ours. Throws when there is no such process. */
    readonly Process: new (pid: number, id: number) => NativeProcess
    /** [the daemon's end, the worker's end], SOCK_SEQPACKET. */
    socketPair(): [number, number]
    /** [reading end, non-blocking; writing end]. */
    pipe(): [number, number]
    /** Two descriptions of one file without a name: one to read, one that only appends. */
    spoolFile(directory: string): { own: number; passed: number }
  }
}

export interface NativeChannel {
  /** Takes the descriptor over in any case. False once the channel has ended. */
  send(frame: Uint8Array, fd?: number): boolean
  /** Frames stay in the socket, so that the worker blocks, until `resume`. */
  pause(): void
  resume(): void
  close(): void
}

/** A worker's process, safe against reused pids; quiet when it is gone. */
export interface NativeProcess {
  readonly pid: number
  kill(): void
  cpuMs(): number
  memory(): { residentBytes: number; peakBytes: number; dataBytes: number }
  resetPeak(): void
  /** Sets the soft limit; false when that is not possible. */
  limit(resource: 'data' | 'fileSize', bytes: number): boolean
  close(): void
}
