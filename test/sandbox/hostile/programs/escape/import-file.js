import text from './canary.txt' with { type: 'text' }
export default () => text
