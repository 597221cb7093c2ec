// An error that says it comes from trusted code decides nothing.
const error = new Error('the results store is full')
error.name = 'HostError'
error.code = 'ENOSPC'
error.limit = 'queue'
error.status = 'unavailable'
throw error
