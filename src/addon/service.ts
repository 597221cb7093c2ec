/** What `native/service` exports. */
export interface ServiceAddon {
  /** To a Unix address, "@…" is an abstract one; 0 or an errno. */
  sendDatagram(socket: string, message: string): number
}
