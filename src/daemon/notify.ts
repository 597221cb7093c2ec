/**
 * Tells systemd what the service is about, as sd_notify(3). Node has no datagram socket for Unix
 * addresses; the addon has one call.
 */
import { addon } from '../addon/index.ts'

export type ServiceState = 'ready' | 'reloading' | 'stopping'

/** Nothing where no service manager listens. A status is one line. */
export function notifyService(state: ServiceState, status: string): void {
  const socket = process.env['NOTIFY_SOCKET']
  if (socket === undefined || socket === '') return
  addon.sendDatagram(socket, message(state, status.replaceAll('\n', ' ')))
}

function message(state: ServiceState, status: string): string {
  switch (state) {
    case 'ready':
      return `READY=1\nSTATUS=${status}`
    case 'reloading': {
      // CLOCK_MONOTONIC, so that the manager knows which reload this is.
      const nowUs = process.hrtime.bigint() / 1000n
      return `RELOADING=1\nMONOTONIC_USEC=${nowUs}\nSTATUS=${status}`
    }
    case 'stopping':
      return `STOPPING=1\nSTATUS=${status}`
  }
}
