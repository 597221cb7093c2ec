/**
 * Programs that verify what a filesystem gives back, and heavy users of one. Minutes each, so in a
 * long run only (`scripts/test --long workloads`), which installs them.
 */
import { long } from '../support/long.ts'
import { programSuite, type ProgramOptions } from '../support/program-suite.ts'

const suite = programSuite('workloads on a mount')

function workload(
  name: string,
  needs: readonly string[],
  script: string,
  options: ProgramOptions = {},
): void {
  const only = process.env['INSITU_ONLY']
  if (only !== undefined && !name.includes(only)) return
  if (long) suite(name, needs, script, { timeoutMs: 900_000, ...options })
  else suite.skip(name, 'only in a long run')
}

const fio = (title: string, options: string): void =>
  workload(
    `fio: verifies ${title}`,
    ['fio'],
    `fio --name=verify --directory=. --rw=randrw --size=64m --numjobs=2 --loops=2 --verify=crc32c \
       --verify_fatal=1 --do_verify=1 --verify_dump=1 ${options}
     rm verify*
     fio --name=write --directory=. --rw=randwrite --size=64m --verify=xxhash --verify_fatal=1 ${options}`,
  )

fio('buffered I/O', '--ioengine=psync --bs=512-64k')
fio('mapped I/O', '--ioengine=mmap --bs=4k-64k')
fio('direct I/O', '--ioengine=libaio --iodepth=8 --direct=1 --bs=4k-64k')

workload('dbench: four clients', ['dbench'], 'dbench -t 30 -D . 4')

workload(
  'stress-ng: filesystem stressors, verified',
  ['stress-ng'],
  `for stressor in access chdir chmod chown copy-file dentry dir dirdeep dup fallocate fcntl \\
       file-ioctl filename flock fpunch fstat getdent hdd inotify io iomix link locka lockf lockofd \\
       mknod mmap msync open readahead rename seek sendfile symlink sync-file utime xattr; do
     stress-ng --verify --temp-path . --timeout 4 --$stressor 2 > log 2>&1 || { echo "$stressor"; cat log; exit 1; }
     ! grep -q 'stress-ng: fail' log || { echo "$stressor"; cat log; exit 1; }
   done`,
)

workload(
  'podman: its storage and a running container on a mount',
  ['podman', 'crun', 'busybox'],
  `mkdir -p rootfs/bin rootfs/data storage "$PLAIN/run"
   cp "$(command -v busybox)" rootfs/bin/ && ln -s busybox rootfs/bin/sh
   here=$PWD
   pod() { unshare -m --propagation unchanged sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec podman "$@"' sh \
     --root "$here/storage" --runroot "$PLAIN/run" --storage-driver vfs --cgroup-manager cgroupfs "$@"; }
   tar -C rootfs -c . | pod import - sample:1
   pod run --rm --network none --ulimit nofile=20000:20000 --ulimit nproc=4096:4096 -v "$here/rootfs/data:/data" sample:1 \
     /bin/sh -c 'echo inside > /data/out && /bin/busybox seq 1000 > /made && /bin/busybox wc -l /made'
   test "$(cat rootfs/data/out)" = inside
   pod rmi -f sample:1`,
  { packages: ['podman', 'crun', 'busybox-static'] },
)

suite.run()
