debugger
//# sourceMappingURL=file:///etc/passwd
//# sourceURL=file:///etc/passwd
export default () => {
  debugger
  return 'held'
}
