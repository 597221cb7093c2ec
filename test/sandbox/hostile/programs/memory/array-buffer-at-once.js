export default () => new Uint8Array(3 * 1024 ** 3).fill(1).length
