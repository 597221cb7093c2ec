/** Every bound of the endpoints, each with its reason. */

export const HTTP_BOUNDS = {
  bodyBytes: 64 * 1024, // a mount request with a path of 4 KiB and many labels fits well
  computeBodyBytes: 2.5 * 1024 * 1024, // a program of 1 MiB, as JSON, and parameters
  connections: 128, // of a tenant; more are refused by the kernel's queue
  httpsConnections: 1_024, // of all tenants
  handshakes: 256, // at a time; beyond, the oldest ends: an honest one takes milliseconds
  backlog: 4_096, // as much as the kernel allows by default: a full one keeps out whoever comes next
  outsiders: 32, // connections that are told 403 at a time
  refusedMs: 1_000, // for an outsider to read why
  tellings: 64, // of one outsider in a row, which are worth telling it and the audit
  tellingsPerSecond: 8, // beyond, its connections are closed without a look at them
  outsidersKnown: 1_000, // by user id
  turnedAway: 32, // connections in one turn of the event loop; some tenths of a millisecond
  headersMs: 5_000, // a slow client is cut off
  requestMs: 30_000, // the whole request; answers may take longer
  idleMs: 65_000, // kept alive between two requests
  requestsPerSocket: 10_000, // afterwards it connects again, and is identified again
  ratePerSecond: 500, // of a tenant; far above what a container asks, far below what hurts others
  burst: 1_000,
  bytesPerToken: 16 * 1024, // 8 MiB of bodies a second: parsing them takes a few percent of one core
  eventClients: 32, // of a tenant
  eventBacklogBytes: 64 * 1024, // a listener that does not read is cut off, and lists anew
  eventBeatMs: 15_000, // so that a client and proxies know that it lives
  computations: 16, // of a tenant at a time; each holds its body, a folder, and a place in the queue
  unmounts: 64, // of a tenant at a time; each may wait, and looks again and again meanwhile
  waitMs: 300_000, // for what is in use to be closed
  auditPage: 1_000,
} as const
