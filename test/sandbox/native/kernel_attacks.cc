// The kernel's own surface: mounts, rings, tracing, keys, foreign call tables.

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attack.h"

namespace hostile {
namespace {

long at(const void* pointer) { return reinterpret_cast<long>(pointer); }

const Attack kAttacks[] = {
    {"mount", [](const Loot&) {
       return call(__NR_mount, at("proc"), at("/"), at("proc"), 0, 0);
     }},
    {"remount", [](const Loot&) {
       return call(__NR_mount, 0, at("/"), 0, MS_REMOUNT | MS_BIND, 0);
     }},
    {"umount2", [](const Loot&) { return call(__NR_umount2, at("/usr"), MNT_DETACH); }},
    {"pivot_root", [](const Loot&) { return call(__NR_pivot_root, at("/"), at("/")); }},
    {"open_tree", [](const Loot&) { return call(__NR_open_tree, AT_FDCWD, at("/"), 1); }},
    {"move_mount", [](const Loot&) { return call(__NR_move_mount, 3, at(""), 3, at(""), 0); }},
    {"mount_setattr", [](const Loot&) {
       uint64_t attributes[4] = {0, 1, 0, 0};
       return call(__NR_mount_setattr, AT_FDCWD, at("/"), 0, at(attributes), sizeof attributes);
     }},
    {"fsopen", [](const Loot&) { return call(__NR_fsopen, at("tmpfs"), 0); }},
    {"statmount", [](const Loot&) { return call(457 /* statmount */, 0, 0, 0, 0); }},
    {"io_uring_setup", [](const Loot&) {
       uint32_t parameters[30] = {};
       return call(__NR_io_uring_setup, 1, at(parameters));
     }},
    {"io_uring_enter", [](const Loot&) { return call(__NR_io_uring_enter, 3, 1, 0, 0, 0, 0); }},
    {"io_uring_register", [](const Loot&) { return call(__NR_io_uring_register, 3, 0, 0, 0); }},
    {"io_setup", [](const Loot&) {
       unsigned long context = 0;
       return call(__NR_io_setup, 1, at(&context));
     }},
    {"bpf", [](const Loot&) {
       union bpf_attr attributes{};
       return call(__NR_bpf, BPF_MAP_CREATE, at(&attributes), sizeof attributes);
     }},
    {"perf_event_open", [](const Loot&) {
       perf_event_attr attributes{};
       attributes.size = sizeof attributes;
       return call(__NR_perf_event_open, at(&attributes), 0, -1, -1, 0);
     }},
    {"userfaultfd", [](const Loot&) { return call(__NR_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */); }},
    {"memfd_create", [](const Loot&) { return call(__NR_memfd_create, at("x"), 0); }},
    {"memfd_secret", [](const Loot&) { return call(447 /* memfd_secret */, 0); }},
    {"keyctl", [](const Loot&) { return call(__NR_keyctl, KEYCTL_GET_KEYRING_ID, -3, 1); }},
    {"add_key", [](const Loot&) { return call(__NR_add_key, at("user"), at("x"), at("y"), 1, -3); }},
    {"request_key", [](const Loot&) { return call(__NR_request_key, at("user"), at("x"), 0, -3); }},
    {"init_module", [](const Loot&) { return call(__NR_init_module, 0, 0, at("")); }},
    {"finit_module", [](const Loot&) { return call(__NR_finit_module, 3, at(""), 0); }},
    {"kexec_load", [](const Loot&) { return call(__NR_kexec_load, 0, 0, 0, 0); }},
    {"reboot", [](const Loot&) { return call(__NR_reboot, 0, 0, 0, 0); }},
    {"swapon", [](const Loot&) { return call(__NR_swapon, at("/x"), 0); }},
    {"quotactl", [](const Loot&) { return call(__NR_quotactl, 0, 0, 0, 0); }},
    {"syslog", [](const Loot&) { return call(__NR_syslog, 10, 0, 0); }},
    {"acct", [](const Loot&) { return call(__NR_acct, 0); }},
    {"personality", [](const Loot&) { return call(__NR_personality, 0x0400000); }},
    {"sethostname", [](const Loot&) { return call(__NR_sethostname, at("x"), 1); }},
    {"settimeofday", [](const Loot&) { return call(__NR_settimeofday, 0, 0); }},
    {"shmget", [](const Loot&) { return call(__NR_shmget, IPC_PRIVATE, 4096, IPC_CREAT | 0600); }},
    {"msgget", [](const Loot&) { return call(__NR_msgget, IPC_PRIVATE, IPC_CREAT | 0600); }},
    {"semget", [](const Loot&) { return call(__NR_semget, IPC_PRIVATE, 1, IPC_CREAT | 0600); }},
    {"mq_open", [](const Loot&) { return call(__NR_mq_open, at("x"), O_CREAT | O_RDWR, 0600, 0); }},
    {"timerfd_create", [](const Loot&) { return call(__NR_timerfd_create, 1, 0); }},
    {"signalfd4", [](const Loot&) {
       const uint64_t mask = 0;
       return call(__NR_signalfd4, -1, at(&mask), sizeof mask, 0);
     }},
    {"eventfd2", [](const Loot&) { return call(__NR_eventfd2, 0, 0); }},
    {"pipe2", [](const Loot&) {
       int ends[2];
       return call(__NR_pipe2, at(ends), 0);
     }},
    {"dup", [](const Loot&) { return call(__NR_dup, 3); }},
    {"landlock", [](const Loot&) { return call(__NR_landlock_create_ruleset, 0, 0, 1); }},
    {"unknown-call", [](const Loot&) { return call(4000); }},
#if defined(__x86_64__)
    {"modify_ldt", [](const Loot&) {
       char entry[16];
       return call(__NR_modify_ldt, 0, at(entry), sizeof entry);
     }},
    {"iopl", [](const Loot&) { return call(__NR_iopl, 3); }},
    {"x32-call", [](const Loot&) { return call(0x40000000 | __NR_getpid); }},
    // The 32-bit table has other numbers: 20 is getpid there, writev here.
    {"i386-call", [](const Loot&) {
       long result = 20;
       asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
       return result;
     }},
#endif
};

}  // namespace

std::span<const Attack> kernel_attacks() { return kAttacks; }

}  // namespace hostile
