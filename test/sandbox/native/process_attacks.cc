// Other programs, other processes, other identities, and the network.

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "attack.h"

namespace hostile {
namespace {

constexpr int kChannel = 3;

long at(const void* pointer) { return reinterpret_cast<long>(pointer); }

template <size_t Size>
long sleep_in_thread(char (&stack)[Size], long flags) {
  return call(__NR_clone, flags, at(stack + Size));
}

const Attack kAttacks[] = {
    // Programs and processes.
    {"execve", [](const Loot&) {
       const char* argv[] = {"/usr/bin/node", nullptr};
       return call(__NR_execve, at(argv[0]), at(argv), 0);
     }},
    {"execveat", [](const Loot& loot) {
       const char* argv[] = {"x", nullptr};
       return call(__NR_execveat, loot.input, at(""), at(argv), 0, 0x1000 /* AT_EMPTY_PATH */);
     }},
#ifdef __NR_fork
    {"fork", [](const Loot&) { return call(__NR_fork); }},
    {"vfork", [](const Loot&) { return call(__NR_vfork); }},
#endif
    {"clone-process", [](const Loot&) { return call(__NR_clone, SIGCHLD); }},
    {"clone-user-namespace", [](const Loot&) { return call(__NR_clone, SIGCHLD | CLONE_NEWUSER); }},
    {"clone-shared-memory", [](const Loot&) {
       // All that a thread shares, but a process of its own: a filter that looks at one flag lets it by.
       return call(__NR_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_SYSVSEM);
     }},
    {"clone-thread-in-namespace", [](const Loot&) {
       static char stack[4096];
       return sleep_in_thread(stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                         CLONE_THREAD | CLONE_SYSVSEM | CLONE_NEWNET);
     }},
    {"clone3", [](const Loot&) {
       clone_args arguments{};
       arguments.exit_signal = SIGCHLD;
       return call(__NR_clone3, at(&arguments), sizeof arguments);
     }},
    {"unshare", [](const Loot&) { return call(__NR_unshare, CLONE_NEWUSER | CLONE_NEWNS); }},
    {"setns", [](const Loot&) { return call(__NR_setns, kChannel, 0); }},
    {"ptrace-traceme", [](const Loot&) { return call(__NR_ptrace, PTRACE_TRACEME); }},
    {"ptrace-attach", [](const Loot&) { return call(__NR_ptrace, PTRACE_ATTACH, 1); }},
    {"process_vm_readv", [](const Loot&) {
       char bytes[8];
       iovec local{bytes, sizeof bytes};
       iovec remote{reinterpret_cast<void*>(0x400000), sizeof bytes};
       return call(__NR_process_vm_readv, 1, at(&local), 1, at(&remote), 1, 0);
     }},
    {"process_vm_writev", [](const Loot&) {
       char bytes[8] = {};
       iovec local{bytes, sizeof bytes};
       iovec remote{reinterpret_cast<void*>(0x400000), sizeof bytes};
       return call(__NR_process_vm_writev, 1, at(&local), 1, at(&remote), 1, 0);
     }},
    {"pidfd_open", [](const Loot&) { return call(__NR_pidfd_open, 1, 0); }},
    {"pidfd_getfd", [](const Loot&) { return call(__NR_pidfd_getfd, kChannel, 0, 0); }},
    {"kcmp", [](const Loot&) { return call(__NR_kcmp, 1, getpid(), 0, 0, 0); }},
    {"kill-everybody", [](const Loot&) { return call(__NR_kill, -1, SIGKILL); }},
    {"kill-parent", [](const Loot&) { return call(__NR_kill, getppid(), SIGKILL); }},
    {"kill-init", [](const Loot&) { return call(__NR_kill, 1, SIGTERM); }},
    {"tkill", [](const Loot&) { return call(__NR_tkill, 1, SIGTERM); }},
    {"tgkill-other", [](const Loot&) {
       return call(__NR_tgkill, getpid() + 1, getpid() + 1, SIGTERM);
     }},
    {"rt_sigqueueinfo", [](const Loot&) {
       siginfo_t info{};
       info.si_code = SI_QUEUE;
       return call(__NR_rt_sigqueueinfo, 1, SIGTERM, at(&info));
     }},
    {"setsid", [](const Loot&) { return call(__NR_setsid); }},
    {"setpgid", [](const Loot&) { return call(__NR_setpgid, 0, 0); }},

    // Identities, capabilities, limits, and the filters themselves.
    {"setuid", [](const Loot&) { return call(__NR_setuid, 0); }},
    {"setresuid", [](const Loot&) { return call(__NR_setresuid, 0, 0, 0); }},
    {"setgroups", [](const Loot&) { return call(__NR_setgroups, 0, 0); }},
    {"capset", [](const Loot&) {
       uint32_t header[2] = {0x20080522, 0};
       uint32_t data[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
       return call(__NR_capset, at(header), at(data));
     }},
    {"raise-file-size", [](const Loot&) {
       const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
       return call(__NR_prlimit64, 0, RLIMIT_FSIZE, at(&limit), 0);
     }},
    {"raise-data", [](const Loot&) {
       const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
       return call(__NR_prlimit64, 0, RLIMIT_DATA, at(&limit), 0);
     }},
    {"setrlimit", [](const Loot&) {
       const rlimit limit{1024, 1024};
#ifdef __NR_setrlimit
       return call(__NR_setrlimit, RLIMIT_CORE, at(&limit));
#else
       return call(__NR_prlimit64, 0, RLIMIT_CORE, at(&limit), 0);
#endif
     }},
    {"setpriority", [](const Loot&) { return call(__NR_setpriority, PRIO_PROCESS, 0, 10); }},
    {"sched_setscheduler", [](const Loot&) {
       const sched_param parameter{};
       return call(__NR_sched_setscheduler, 0, SCHED_OTHER, at(&parameter));
     }},
    {"sched_setaffinity", [](const Loot&) {
       unsigned long mask = ~0ul;
       return call(__NR_sched_setaffinity, 0, sizeof mask, at(&mask));
     }},
    {"outlive-the-parent", [](const Loot&) { return call(__NR_prctl, PR_SET_PDEATHSIG, 0); }},
    {"dumpable", [](const Loot&) { return call(__NR_prctl, PR_SET_DUMPABLE, 1); }},
    {"ptracer", [](const Loot&) { return call(__NR_prctl, PR_SET_PTRACER, ~0ul); }},
    {"speculation", [](const Loot&) { return call(__NR_prctl, PR_SET_SPECULATION_CTRL, 0, 2); }},
    {"no-new-filter", [](const Loot&) { return call(__NR_seccomp, 2 /* GET_ACTION_AVAIL */, 0, 0); }},
    {"listen-to-calls", [](const Loot&) {
       return call(__NR_seccomp, 1, 8 /* FILTER_FLAG_NEW_LISTENER */, 0);
     }},

    // The network, and descriptors on their way.
    {"socket-inet", [](const Loot&) { return call(__NR_socket, AF_INET, SOCK_STREAM, 0); }},
    {"socket-inet6", [](const Loot&) { return call(__NR_socket, AF_INET6, SOCK_DGRAM, 0); }},
    {"socket-unix", [](const Loot&) { return call(__NR_socket, AF_UNIX, SOCK_STREAM, 0); }},
    {"socket-netlink", [](const Loot&) { return call(__NR_socket, AF_NETLINK, SOCK_RAW, 0); }},
    {"socket-packet", [](const Loot&) { return call(__NR_socket, AF_PACKET, SOCK_RAW, 0); }},
    {"socket-vsock", [](const Loot&) { return call(__NR_socket, AF_VSOCK, SOCK_STREAM, 0); }},
    {"socket-alg", [](const Loot&) { return call(__NR_socket, AF_ALG, SOCK_SEQPACKET, 0); }},
    {"socketpair", [](const Loot&) {
       int ends[2];
       return call(__NR_socketpair, AF_UNIX, SOCK_STREAM, 0, at(ends));
     }},
    {"connect-the-channel", [](const Loot&) {
       sockaddr_un address{};
       address.sun_family = AF_UNIX;
       memcpy(address.sun_path, "\0abstract", 9);
       return call(__NR_connect, kChannel, at(&address), sizeof address);
     }},
    {"bind-the-channel", [](const Loot&) {
       const sa_family_t family = AF_UNIX;
       return call(__NR_bind, kChannel, at(&family), sizeof family);
     }},
    {"sendto", [](const Loot&) { return call(__NR_sendto, kChannel, at("x"), 1, 0, 0, 0); }},
    {"sendmmsg", [](const Loot&) { return call(__NR_sendmmsg, kChannel, 0, 0, 0); }},
    {"setsockopt", [](const Loot&) {
       const int on = 1;
       return call(__NR_setsockopt, kChannel, SOL_SOCKET, SO_PASSCRED, at(&on), sizeof on);
     }},
    {"sendmsg-elsewhere", [](const Loot& loot) {
       msghdr message{};
       return call(__NR_sendmsg, loot.input, at(&message), 0);
     }},
};

}  // namespace

std::span<const Attack> process_attacks() { return kAttacks; }

}  // namespace hostile
