/**
 * What each native attempt must come to. `killed`: the worker's filter ends the process, because no
 * worker makes that call by mistake. EPERM: the filter's default. ENOSYS: as on a kernel without the
 * call, for those that a runtime probes and does without.
 */
/** `killed`, or an errno's name. */
type Refusal = string

const all = (refusal: Refusal, names: string): [string, Refusal][] =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => [name, refusal])

/** With both filters, as the guest would meet them. */
export const WITH_BOTH_FILTERS: ReadonlyMap<string, Refusal> = new Map([
  ...all(
    'killed',
    `execve execveat fork vfork clone-process clone-user-namespace clone-shared-memory
     clone-thread-in-namespace unshare setns ptrace-traceme ptrace-attach process_vm_readv
     process_vm_writev pidfd_open pidfd_getfd kcmp
     socket-inet socket-inet6 socket-unix socket-netlink socket-packet socket-vsock socket-alg
     socketpair connect-the-channel bind-the-channel
     open_by_handle_at name_to_handle_at chroot
     fchmod-input fchown-input futimens-input fsetxattr-input fremovexattr-input flock-input
     flock-exclusive-input fanotify_init
     mount remount umount2 pivot_root open_tree move_mount mount_setattr fsopen
     io_uring_enter io_uring_register bpf perf_event_open userfaultfd memfd_create
     keyctl add_key request_key init_module finit_module kexec_load reboot swapon quotactl
     personality modify_ldt iopl x32-call i386-call`,
  ),
  ...all('ENOSYS', 'clone3 io_uring_setup'),
  ...all(
    'EPERM',
    `kill-everybody kill-parent kill-init tkill tgkill-other rt_sigqueueinfo setsid setpgid
     setuid setresuid setgroups capset raise-file-size raise-data setrlimit setpriority
     sched_setscheduler sched_setaffinity outlive-the-parent dumpable ptracer speculation
     no-new-filter listen-to-calls sendto sendmmsg setsockopt sendmsg-elsewhere
     open openat openat-proc openat-proc-fd openat-proc-mem openat-sys openat-dev openat-input
     openat-create openat-tmpfile openat2 statx getdents64 mkdirat mknodat symlinkat unlinkat
     renameat2 link-input truncate fchdir
     ftruncate-input fallocate-input fchmodat2-input fgetxattr-input lock-input
     lock-description-input lease-input notify-input set-owner-input set-flags-input
     duplicate-input write-hint-input ioctl-flags-input ioctl-freeze-input ioctl-clone-input
     ioctl-terminal map-input map-input-executable copy-input sendfile-input splice-input
     readahead-input fsync-input syncfs-input sync inotify
     spool-map spool-fallocate spool-truncate spool-lease
     statmount io_setup memfd_secret syslog acct sethostname settimeofday shmget msgget semget
     mq_open timerfd_create signalfd4 eventfd2 pipe2 dup landlock unknown-call
     memory-shared memory-grows-down memory-huge-pages memory-lock-all memory-numa memory-locked`,
  ),
  // A description that is open for reading only.
  ...all('EBADF', 'write-input pwrite-input'),
  // Resource limits.
  ...all('EFBIG', 'spool-beyond-limit'),
  ...all('ENOMEM', 'memory-private memory-protect memory-brk memory-remap'),
  ...all('EAGAIN', 'threads'),
])

/**
 * With the launch filter only, as while a worker starts: names are an empty, read-only tree without
 * /proc, /sys, /dev and /tmp; there are no capabilities; and what a starting Node never needs is
 * refused already.
 */
export const WITH_LAUNCH_FILTER: ReadonlyMap<string, Refusal> = new Map([
  ...all('ENOENT', 'open openat openat-proc openat-proc-fd openat-proc-mem openat-sys openat-dev'),
  ...all('EROFS', 'openat-create'),
  ...all(
    'EPERM',
    `fork unshare setns ptrace-attach process_vm_readv pidfd_open kill-init socket-inet socket-unix
     socketpair connect-the-channel mount umount2 open_tree open_by_handle_at bpf perf_event_open
     userfaultfd memfd_create keyctl fchmod-input futimens-input fsetxattr-input flock-input openat2
     sethostname setuid mkdirat unlinkat`,
  ),
  ...all('ENOSYS', 'clone3 io_uring_setup'),
])

/** These no call refuses; they must show in what the watcher measures. */
export const MEASURED: ReadonlySet<string> = new Set([
  'memory-page-tables',
  'memory-under-a-false-name',
])

/** On an input's descriptor without any filter, and as root: it comes from a clone of the backing that
 * is read-only, without devices and without programs. */
export const BY_THE_CLONE: ReadonlyMap<string, Refusal> = new Map([
  ...all('EROFS', 'fchmod-input fchown-input futimens-input fsetxattr-input fremovexattr-input'),
  ...all('EBADF', 'write-input pwrite-input'),
  ...all('EINVAL', 'ftruncate-input'),
  ...all('EPERM', 'map-input-executable'),
  ...all('EACCES', 'execveat'),
])
