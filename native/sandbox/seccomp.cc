#include "sandbox/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <span>

namespace insitu {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
#error "the sandbox knows the system calls of x86_64 and aarch64 only"
#endif

// x32 calls share x86_64's arch value and differ by this bit: they would slip past a list of numbers.
constexpr uint32_t kX32Bit = 0x40000000;

constexpr int kChannelFd = 3;

// One condition on an argument, on its low 32 bits: (argument & mask) == value. Where the high bits
// could matter the kernel itself takes an int there, except for `zero64`, which looks at all 64.
struct Condition {
  enum Kind : uint8_t { kNone, kMasked, kZero64 } kind = kNone;
  uint8_t argument = 0;
  uint32_t mask = 0;
  uint32_t value = 0;
};

constexpr Condition argument_is(uint8_t argument, uint32_t value) {
  return {Condition::kMasked, argument, 0xffffffff, value};
}
constexpr Condition bits_are(uint8_t argument, uint32_t mask, uint32_t bits) {
  return {Condition::kMasked, argument, mask, bits};
}
constexpr Condition argument_is_null(uint8_t argument) {
  return {Condition::kZero64, argument, 0, 0};
}

// A call may stand in a table several times: the first rule whose condition holds decides.
struct Rule {
  uint32_t number;
  Condition condition{};
};

struct Verdict {
  uint32_t number;
  uint32_t action;
};

constexpr uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr uint32_t refuse(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }

// A new thread of this process, in no new namespace: what pthread_create asks for.
constexpr uint32_t kThreadFlags =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
constexpr uint32_t kProcessFlags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                   CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_VFORK |
                                   CLONE_PTRACE | CLONE_PARENT | CLONE_IO;

// Both filters: what V8, libuv and the C library do all the time.
constexpr Rule kRunning[] = {
    // Memory. Only anonymous mappings: no input is ever mapped, nothing is loaded any more. Only
    // private ones of ordinary pages that do not grow: RLIMIT_DATA counts neither shared memory nor
    // what is marked to grow down. (The launch filter has a rule of its own for the loader.)
    {__NR_brk},
    {__NR_mmap, bits_are(3, MAP_ANONYMOUS | MAP_SHARED | MAP_GROWSDOWN | MAP_HUGETLB, MAP_ANONYMOUS)},
    {__NR_munmap},
    {__NR_mremap},
    {__NR_mprotect},
    {__NR_pkey_mprotect},
    {__NR_madvise},
    {__NR_membarrier},
    // Threads: V8 and isolated-vm start helpers late. clone3 hides its flags from a filter, so it is
    // ENOSYS below and the C library falls back to clone.
    {__NR_clone, bits_are(0, kThreadFlags | kProcessFlags, kThreadFlags)},
    {__NR_set_robust_list},
    {__NR_rseq},
    {__NR_futex},
    {__NR_sched_yield},
    {__NR_sched_getaffinity},
    {__NR_gettid},
    {__NR_exit},
    {__NR_exit_group},
    {__NR_prctl, argument_is(0, PR_SET_NAME)},
    // Signals, for crashes and V8's trap handler.
    {__NR_rt_sigaction},
    {__NR_rt_sigprocmask},
    {__NR_rt_sigreturn},
    {__NR_sigaltstack},
    {__NR_restart_syscall},
    // Time.
    {__NR_clock_gettime},
    {__NR_clock_getres},
    {__NR_clock_nanosleep},
    {__NR_nanosleep},
    {__NR_gettimeofday},
    {__NR_getrusage},
    {__NR_times},
#ifdef __NR_time
    {__NR_time},
#endif
    // Descriptors that it already has. Inputs are fresh read-only descriptions, so an offset moved
    // there is nobody else's.
    {__NR_read},
    {__NR_readv},
    {__NR_pread64},
    {__NR_preadv},
    {__NR_write},
    {__NR_writev},
    {__NR_pwrite64},
    {__NR_lseek},
    {__NR_close},
    {__NR_fstat},
    {__NR_fcntl, argument_is(1, 1 /* F_GETFD */)},
    {__NR_fcntl, argument_is(1, 2 /* F_SETFD */)},
    {__NR_fcntl, argument_is(1, 3 /* F_GETFL */)},
    {__NR_sendmsg, argument_is(0, kChannelFd)},
    {__NR_recvmsg, argument_is(0, kChannelFd)},
#ifdef __NR_epoll_wait
    {__NR_epoll_wait},
#endif
    {__NR_epoll_pwait},
    {__NR_epoll_ctl},
#ifdef __NR_poll
    {__NR_poll},
#endif
    {__NR_ppoll},
    // Questions about itself.
    {__NR_getpid},
    {__NR_getuid},
    {__NR_geteuid},
    {__NR_getgid},
    {__NR_getegid},
    {__NR_getrandom},
    {__NR_uname},
    {__NR_sysinfo},
    {__NR_prlimit64, argument_is_null(2)},
};

// The launch filter only: what goes on between exec and the worker's own filter.
constexpr Rule kStarting[] = {
    {__NR_execve},
    {__NR_mmap},
    {__NR_openat},
    {__NR_statx},
    {__NR_newfstatat},
    {__NR_statfs},
    {__NR_fstatfs},
    {__NR_getdents64},
    {__NR_readlinkat},
    {__NR_faccessat},
    {__NR_faccessat2},
    {__NR_getcwd},
    {__NR_chdir},
    {__NR_umask},
    {__NR_fcntl},
    {__NR_dup},
    {__NR_dup3},
    {__NR_pipe2},
    {__NR_eventfd2},
    {__NR_epoll_create1},
    {__NR_prctl},
    {__NR_seccomp},
    {__NR_prlimit64},
    {__NR_set_tid_address},
    {__NR_capget},
    {__NR_getppid},
    {__NR_getresuid},
    {__NR_getresgid},
    {__NR_getgroups},
    {__NR_sched_getparam},
    {__NR_sched_getscheduler},
    {__NR_pkey_alloc},
    {__NR_pkey_free},
    {__NR_tgkill},
    {__NR_ioctl, argument_is(1, 0x5451 /* FIOCLEX */)},
    {__NR_ioctl, argument_is(1, 0x5421 /* FIONBIO */)},
    {444 /* landlock_create_ruleset */},
    {446 /* landlock_restrict_self */},
#if defined(__x86_64__)
    {__NR_arch_prctl},
    {__NR_open},
    {__NR_stat},
    {__NR_lstat},
    {__NR_readlink},
    {__NR_access},
    {__NR_dup2},
    {__NR_pipe},
    {__NR_getrlimit},
#endif
};

// Calls that no worker makes, not by mistake either: whoever makes one is native code in the guest's
// service, so the process ends there and then and the run is reported as crashed. What is in no
// table gets EPERM instead: a runtime may probe (open a time zone, ask for a terminal) and live.
constexpr uint32_t kFatal[] = {
    // Programs, processes, other processes.
    __NR_execve, __NR_execveat, __NR_unshare, __NR_setns, __NR_ptrace, __NR_process_vm_readv,
    __NR_process_vm_writev, __NR_kcmp, __NR_pidfd_open, __NR_pidfd_getfd, __NR_pidfd_send_signal,
#ifdef __NR_fork
    __NR_fork, __NR_vfork,
#endif
    // The network.
    __NR_socket, __NR_socketpair, __NR_connect, __NR_bind, __NR_listen, __NR_accept, __NR_accept4,
    // The file system as such.
    __NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot, __NR_open_tree, __NR_move_mount,
    __NR_fsopen, __NR_fsmount, __NR_fspick, __NR_mount_setattr, __NR_open_by_handle_at,
    __NR_name_to_handle_at, __NR_quotactl,
    // Attributes, locks and leases on inputs: they would reach other users of the same file.
    __NR_fchmod, __NR_fchmodat, __NR_fchown, __NR_fchownat, __NR_utimensat, __NR_setxattr,
    __NR_lsetxattr, __NR_fsetxattr, __NR_removexattr, __NR_lremovexattr, __NR_fremovexattr,
    __NR_flock,
    // Kernel surface that has no place here.
    __NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_io_uring_enter, __NR_io_uring_register,
    __NR_keyctl, __NR_add_key, __NR_request_key, __NR_memfd_create, __NR_init_module,
    __NR_finit_module, __NR_kexec_load, __NR_reboot, __NR_swapon, __NR_fanotify_init,
    __NR_personality,
#if defined(__x86_64__)
    __NR_modify_ldt, __NR_iopl, __NR_ioperm,
#endif
};

// Answered as by a kernel without them, so that callers fall back.
constexpr uint32_t kUnknown[] = {__NR_clone3, __NR_io_uring_setup};

class Builder {
 public:
  Builder() {
    load(offsetof(seccomp_data, arch));
    skip_unless_equal(kArch, 1);
    jump(1);
    finish(kKill);
    load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 0, 1));
    finish(kKill);
#endif
  }

  void add(std::span<const Rule> rules) {
    for (const Rule& rule : rules) add(rule);
  }

  void add(const Rule& rule, uint32_t action = SECCOMP_RET_ALLOW) {
    const Condition& condition = rule.condition;
    const uint32_t low = offsetof(seccomp_data, args) + condition.argument * sizeof(uint64_t);
    switch (condition.kind) {
      case Condition::kNone:
        skip_unless_equal(rule.number, 1);
        finish(action);
        return;
      // After a condition that fails the number is loaded again for the rules that follow.
      case Condition::kMasked:
        skip_unless_equal(rule.number, 5);
        load(low);
        code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, condition.mask));
        skip_unless_equal(condition.value, 1);
        finish(action);
        load(offsetof(seccomp_data, nr));
        return;
      case Condition::kZero64:
        skip_unless_equal(rule.number, 6);
        load(low);
        skip_unless_equal(0, 3);
        load(low + sizeof(uint32_t));
        skip_unless_equal(0, 1);
        finish(action);
        load(offsetof(seccomp_data, nr));
        return;
    }
  }

  void add(std::span<const uint32_t> numbers, uint32_t action) {
    for (uint32_t number : numbers) add(Rule{number}, action);
  }

  std::vector<sock_filter> otherwise(uint32_t action) && {
    finish(action);
    return std::move(code_);
  }

 private:
  void load(uint32_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void jump(uint32_t count) { code_.push_back(BPF_STMT(BPF_JMP | BPF_JA, count)); }
  void finish(uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  void skip_unless_equal(uint32_t value, uint8_t count) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
  }

  std::vector<sock_filter> code_;
};

}  // namespace

std::vector<sock_filter> launch_filter() {
  Builder builder;
  builder.add(kUnknown, refuse(ENOSYS));
  builder.add(kRunning);
  builder.add(kStarting);
  return std::move(builder).otherwise(refuse(EPERM));
}

std::vector<sock_filter> worker_filter() {
  Builder builder;
  builder.add(kUnknown, refuse(ENOSYS));
  builder.add(kRunning);
  // abort(3) and pthread_kill: signals to threads of this very process only.
  builder.add({__NR_tgkill, argument_is(0, static_cast<uint32_t>(getpid()))});
  builder.add(Rule{__NR_clone}, kKill);  // not a thread: a process
  builder.add(kFatal, kKill);
  return std::move(builder).otherwise(refuse(EPERM));
}

int install_filter(const std::vector<sock_filter>& filter) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  sock_fprog program{static_cast<unsigned short>(filter.size()),
                     const_cast<sock_filter*>(filter.data())};
  const long result =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (result > 0) return ESRCH;  // a thread could not be brought along
  return result == 0 ? 0 : errno;
}

}  // namespace insitu
