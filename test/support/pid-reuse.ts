/** A caller that dies before it is looked at, and another process that has got its pid by then. */
import { spawn } from 'node:child_process'

const SCRIPT = `
import os, signal, socket, sys, time
daemon, path, uid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.kill(daemon, signal.SIGSTOP)
try:
    for attempt in range(50):
        ours = socket.socket(socket.AF_UNIX)
        caller = os.fork()
        if caller == 0:
            os.setgroups([]); os.setgid(uid); os.setuid(uid)
            ours.connect(path)
            os._exit(0)
        os.waitpid(caller, 0)
        with open('/proc/sys/kernel/ns_last_pid', 'w') as last: last.write(str(caller - 1))
        victim = os.fork()
        if victim == 0:
            open('/proc/self/comm', 'w').write('victim')
            time.sleep(60)
            os._exit(0)
        if victim == caller: break
        ours.close()
        os.kill(victim, signal.SIGKILL); os.waitpid(victim, 0)
    else: sys.exit('no pid was given twice')
finally: os.kill(daemon, signal.SIGCONT)
ours.settimeout(20)
ours.sendall(b'GET /grants HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
said = b''
while chunk := ours.recv(65536): said += chunk
os.kill(victim, signal.SIGKILL)
print(caller, said.decode())
`

/** The pid of both, and the answer to the one that is dead. */
export async function askFromReusedPid(
  daemon: number,
  socket: string,
  uid: number,
): Promise<{ readonly pid: number; readonly answer: string }> {
  const child = spawn('python3', ['-c', SCRIPT, String(daemon), socket, String(uid)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.on('data', (data: Buffer) => (said += data.toString()))
  await new Promise((resolve) => child.once('close', resolve))
  return { pid: Number.parseInt(said, 10), answer: said }
}
