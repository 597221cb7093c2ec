// Names, and what could be done to an input by its descriptor although it is open for reading only.

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "attack.h"

namespace hostile {
namespace {

long at(const void* pointer) { return reinterpret_cast<long>(pointer); }

long lock(const Loot& loot, int command, short type) {
  struct flock what{};
  what.l_type = type;
  return call(__NR_fcntl, loot.input, command, at(&what));
}

const Attack kAttacks[] = {
    // Anything by name.
    {"open", [](const Loot&) {
#ifdef __NR_open
       return call(__NR_open, at("/etc/passwd"), O_RDONLY);
#else
       return call(__NR_openat, AT_FDCWD, at("/etc/passwd"), O_RDONLY);
#endif
     }},
    {"openat", [](const Loot&) { return call(__NR_openat, AT_FDCWD, at("/etc/passwd"), O_RDONLY); }},
    {"openat-proc", [](const Loot&) {
       return call(__NR_openat, AT_FDCWD, at("/proc/self/environ"), O_RDONLY);
     }},
    {"openat-proc-fd", [](const Loot&) {
       return call(__NR_openat, AT_FDCWD, at("/proc/self/fd/4"), O_RDWR);
     }},
    {"openat-proc-mem", [](const Loot&) {
       return call(__NR_openat, AT_FDCWD, at("/proc/1/mem"), O_RDWR);
     }},
    {"openat-sys", [](const Loot&) { return call(__NR_openat, AT_FDCWD, at("/sys"), O_RDONLY); }},
    {"openat-dev", [](const Loot&) { return call(__NR_openat, AT_FDCWD, at("/dev/null"), O_RDWR); }},
    {"openat-input", [](const Loot& loot) {
       return call(__NR_openat, loot.input, at(".."), O_RDONLY | O_DIRECTORY);
     }},
    {"openat-create", [](const Loot&) {
       return call(__NR_openat, AT_FDCWD, at("/taken"), O_CREAT | O_RDWR, 0600);
     }},
    {"openat-tmpfile", [](const Loot&) {
       return call(__NR_openat, AT_FDCWD, at("/"), O_TMPFILE | O_RDWR, 0600);
     }},
    {"openat2", [](const Loot&) {
       open_how how{};
       return call(__NR_openat2, AT_FDCWD, at("/etc/passwd"), at(&how), sizeof how);
     }},
    {"open_by_handle_at", [](const Loot&) {
       uint32_t handle[10] = {8, 1, 2, 0};
       return call(__NR_open_by_handle_at, 3, at(handle), O_RDONLY);
     }},
    {"name_to_handle_at", [](const Loot& loot) {
       uint32_t handle[34] = {128};
       int mount = 0;
       return call(__NR_name_to_handle_at, loot.input, at(""), at(handle), at(&mount), AT_EMPTY_PATH);
     }},
    {"statx", [](const Loot&) {
       struct statx attributes{};
       return call(__NR_statx, AT_FDCWD, at("/"), 0, 0xfff, at(&attributes));
     }},
    {"getdents64", [](const Loot&) {
       char entries[256];
       return call(__NR_getdents64, 3, at(entries), sizeof entries);
     }},
    {"mkdirat", [](const Loot&) { return call(__NR_mkdirat, AT_FDCWD, at("/taken"), 0700); }},
    {"mknodat", [](const Loot&) { return call(__NR_mknodat, AT_FDCWD, at("/taken"), S_IFIFO | 0600, 0); }},
    {"symlinkat", [](const Loot&) { return call(__NR_symlinkat, at("/"), AT_FDCWD, at("/taken")); }},
    {"unlinkat", [](const Loot&) { return call(__NR_unlinkat, AT_FDCWD, at("/usr"), AT_REMOVEDIR); }},
    {"renameat2", [](const Loot&) {
       return call(__NR_renameat2, AT_FDCWD, at("/usr"), AT_FDCWD, at("/taken"), 0);
     }},
    {"link-input", [](const Loot& loot) {
       return call(__NR_linkat, loot.input, at(""), AT_FDCWD, at("/taken"), AT_EMPTY_PATH);
     }},
    {"truncate", [](const Loot&) { return call(__NR_truncate, at("/etc/passwd"), 0); }},
    {"chroot", [](const Loot&) { return call(__NR_chroot, at("/")); }},
    {"fchdir", [](const Loot& loot) { return call(__NR_fchdir, loot.input); }},

    // An input by its descriptor.
    {"write-input", [](const Loot& loot) { return call(__NR_write, loot.input, at("x"), 1); }},
    {"pwrite-input", [](const Loot& loot) { return call(__NR_pwrite64, loot.input, at("x"), 1, 0); }},
    {"ftruncate-input", [](const Loot& loot) { return call(__NR_ftruncate, loot.input, 0); }},
    {"fallocate-input", [](const Loot& loot) { return call(__NR_fallocate, loot.input, 0, 0, 4096); }},
    {"fchmod-input", [](const Loot& loot) { return call(__NR_fchmod, loot.input, 0666); }},
    {"fchmodat2-input", [](const Loot& loot) {
       return call(452 /* fchmodat2 */, loot.input, at(""), 0666, AT_EMPTY_PATH);
     }},
    {"fchown-input", [](const Loot& loot) { return call(__NR_fchown, loot.input, getuid(), getgid()); }},
    {"futimens-input", [](const Loot& loot) { return call(__NR_utimensat, loot.input, 0, 0, 0); }},
    {"fsetxattr-input", [](const Loot& loot) {
       return call(__NR_fsetxattr, loot.input, at("user.taken"), at("x"), 1, 0);
     }},
    {"fremovexattr-input", [](const Loot& loot) {
       return call(__NR_fremovexattr, loot.input, at("user.taken"));
     }},
    {"fgetxattr-input", [](const Loot& loot) {
       char value[16];
       return call(__NR_fgetxattr, loot.input, at("security.capability"), at(value), sizeof value);
     }},
    {"flock-input", [](const Loot& loot) { return call(__NR_flock, loot.input, LOCK_SH | LOCK_NB); }},
    {"flock-exclusive-input", [](const Loot& loot) {
       return call(__NR_flock, loot.input, LOCK_EX | LOCK_NB);
     }},
    {"lock-input", [](const Loot& loot) { return lock(loot, F_SETLK, F_RDLCK); }},
    {"lock-description-input", [](const Loot& loot) { return lock(loot, F_OFD_SETLK, F_RDLCK); }},
    {"lease-input", [](const Loot& loot) {
       return call(__NR_fcntl, loot.input, F_SETLEASE, F_RDLCK);
     }},
    {"notify-input", [](const Loot& loot) {
       return call(__NR_fcntl, loot.input, F_NOTIFY, DN_ACCESS);
     }},
    {"set-owner-input", [](const Loot& loot) { return call(__NR_fcntl, loot.input, F_SETOWN, 1); }},
    {"set-flags-input", [](const Loot& loot) {
       return call(__NR_fcntl, loot.input, F_SETFL, O_NOATIME);
     }},
    {"duplicate-input", [](const Loot& loot) { return call(__NR_fcntl, loot.input, F_DUPFD, 0); }},
    {"write-hint-input", [](const Loot& loot) {
       const uint64_t hint = 1;
       return call(__NR_fcntl, loot.input, F_SET_RW_HINT, at(&hint));
     }},
    {"ioctl-flags-input", [](const Loot& loot) {
       const int flags = FS_IMMUTABLE_FL;
       return call(__NR_ioctl, loot.input, FS_IOC_SETFLAGS, at(&flags));
     }},
    {"ioctl-freeze-input", [](const Loot& loot) { return call(__NR_ioctl, loot.input, FIFREEZE, 0); }},
    {"ioctl-clone-input", [](const Loot& loot) {
       return call(__NR_ioctl, loot.spool, FICLONE, loot.input);
     }},
    {"ioctl-terminal", [](const Loot&) { return call(__NR_ioctl, 0, TIOCSTI, at("x")); }},
    {"map-input", [](const Loot& loot) {
       return call(__NR_mmap, 0, 4096, PROT_READ, MAP_SHARED, loot.input, 0);
     }},
    {"map-input-executable", [](const Loot& loot) {
       return call(__NR_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, loot.input, 0);
     }},
    {"copy-input", [](const Loot& loot) {
       return call(__NR_copy_file_range, loot.input, 0, loot.spool, 0, 1, 0);
     }},
    {"sendfile-input", [](const Loot& loot) {
       return call(__NR_sendfile, loot.spool, loot.input, 0, 1);
     }},
    {"splice-input", [](const Loot& loot) {
       return call(__NR_splice, loot.input, 0, 3, 0, 1, 0);
     }},
    {"readahead-input", [](const Loot& loot) { return call(__NR_readahead, loot.input, 0, 1 << 20); }},
    {"fsync-input", [](const Loot& loot) { return call(__NR_fsync, loot.input); }},
    {"syncfs-input", [](const Loot& loot) { return call(__NR_syncfs, loot.input); }},
    {"sync", [](const Loot&) { return call(__NR_sync); }},
    {"inotify", [](const Loot&) { return call(__NR_inotify_init1, 0); }},
    {"fanotify_init", [](const Loot&) { return call(__NR_fanotify_init, 0, 0); }},

    // The spool: past the bound, and what would change it once it is published.
    {"spool-beyond-limit", [](const Loot& loot) {
       static char block[64 << 10];
       signal(SIGXFSZ, SIG_IGN);
       for (long written = 0; written < 64l << 20; written += sizeof block) {
         const long result = call(__NR_write, loot.spool, at(block), sizeof block);
         if (result < 0) return result;
       }
       return 0l;
     }},
    {"spool-map", [](const Loot& loot) {
       return call(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, loot.spool, 0);
     }},
    {"spool-fallocate", [](const Loot& loot) {
       return call(__NR_fallocate, loot.spool, 0, 0, 1l << 40);
     }},
    {"spool-truncate", [](const Loot& loot) { return call(__NR_ftruncate, loot.spool, 1l << 40); }},
    {"spool-lease", [](const Loot& loot) {
       return call(__NR_fcntl, loot.spool, F_SETLEASE, F_WRLCK);
     }},
};

}  // namespace

std::span<const Attack> file_attacks() { return kAttacks; }

}  // namespace hostile
