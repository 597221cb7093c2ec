/** Imported first by a process that preload.ts started. */
delete process.env['LD_PRELOAD']
delete process.env['NODE_OPTIONS']
