// One multiplication of this size outlives isolated-vm's own time limit: only a kill ends it.
const large = 10n ** (10n ** 8n)
export default () => String(large).length
