// Preloaded into a process that serves a mount: the Nth call of its serving threads to the backing
// filesystem fails. failing-calls.ts builds it and steers it through a shared page.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
  _Atomic int64_t error;   // 0: nothing fails, nothing is counted
  _Atomic int64_t at;      // the call that fails, from 1 on
  _Atomic int64_t always;  // and all after it
  _Atomic int64_t calls;
};

static struct control* control;

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("INSITU_TEST_FAULTS");
  if (!path) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  void* page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) control = page;
}

static int serves(void) {
  static _Thread_local int known;  // 1: no, 2: yes
  if (known == 2) return 1;
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  // A thread gets its name after its first calls.
  known = strcmp(name, "insitu-fuse") == 0 ? 2 : 1;
  return known == 2;
}

static int fails(void) {
  if (!control || atomic_load(&control->error) == 0 || !serves()) return 0;
  const int64_t call = atomic_fetch_add(&control->calls, 1) + 1;
  const int64_t at = atomic_load(&control->at);
  if (call != at && !(call > at && atomic_load(&control->always))) return 0;
  errno = (int)atomic_load(&control->error);
  return 1;
}

#define CALL(result, name, parameters, arguments)            \
  result name parameters {                                   \
    static result(*real) parameters;                         \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
    return fails() ? -1 : real arguments;                    \
  }
#define BOTH(result, name, parameters, arguments) \
  CALL(result, name, parameters, arguments)       \
  CALL(result, name##64, parameters, arguments)

BOTH(ssize_t, pread, (int fd, void* data, size_t size, off_t at), (fd, data, size, at))
BOTH(ssize_t, pwrite, (int fd, const void* data, size_t size, off_t at), (fd, data, size, at))
CALL(ssize_t, pwritev2, (int fd, const struct iovec* v, int n, off_t at, int how), (fd, v, n, at, how))
CALL(ssize_t, pwritev64v2, (int fd, const struct iovec* v, int n, off_t at, int how), (fd, v, n, at, how))
CALL(int, fstat, (int fd, struct stat* out), (fd, out))
CALL(int, fstat64, (int fd, struct stat64* out), (fd, out))
CALL(int, fstatat, (int fd, const char* name, struct stat* out, int how), (fd, name, out, how))
CALL(int, fstatat64, (int fd, const char* name, struct stat64* out, int how), (fd, name, out, how))
CALL(int, fstatfs, (int fd, struct statfs* out), (fd, out))
CALL(int, fstatfs64, (int fd, struct statfs64* out), (fd, out))
CALL(int, statx, (int fd, const char* name, int how, unsigned mask, struct statx* out), (fd, name, how, mask, out))
CALL(int, mkdirat, (int fd, const char* name, mode_t mode), (fd, name, mode))
CALL(int, mknodat, (int fd, const char* name, mode_t mode, dev_t dev), (fd, name, mode, dev))
CALL(int, symlinkat, (const char* to, int fd, const char* name), (to, fd, name))
CALL(int, linkat, (int f, const char* from, int t, const char* to, int how), (f, from, t, to, how))
CALL(int, unlinkat, (int fd, const char* name, int how), (fd, name, how))
CALL(int, renameat2, (int f, const char* from, int t, const char* to, unsigned how), (f, from, t, to, how))
CALL(ssize_t, readlinkat, (int fd, const char* name, char* out, size_t size), (fd, name, out, size))
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode))
CALL(int, chmod, (const char* path, mode_t mode), (path, mode))
CALL(int, fchownat, (int fd, const char* name, uid_t uid, gid_t gid, int how), (fd, name, uid, gid, how))
CALL(int, utimensat, (int fd, const char* name, const struct timespec t[2], int how), (fd, name, t, how))
CALL(int, futimens, (int fd, const struct timespec t[2]), (fd, t))
BOTH(int, ftruncate, (int fd, off_t size), (fd, size))
BOTH(int, truncate, (const char* path, off_t size), (path, size))
BOTH(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
BOTH(off_t, lseek, (int fd, off_t at, int how), (fd, at, how))
CALL(int, fsync, (int fd), (fd))
CALL(int, fdatasync, (int fd), (fd))
CALL(ssize_t, copy_file_range, (int f, off_t* i, int t, off_t* o, size_t n, unsigned how), (f, i, t, o, n, how))
CALL(ssize_t, getxattr, (const char* p, const char* n, void* v, size_t s), (p, n, v, s))
CALL(ssize_t, fgetxattr, (int fd, const char* n, void* v, size_t s), (fd, n, v, s))
CALL(ssize_t, listxattr, (const char* p, char* v, size_t s), (p, v, s))
CALL(int, setxattr, (const char* p, const char* n, const void* v, size_t s, int how), (p, n, v, s, how))
CALL(int, removexattr, (const char* p, const char* n), (p, n))
CALL(int, open_by_handle_at, (int fd, struct file_handle* handle, int flags), (fd, handle, flags))
CALL(int, name_to_handle_at, (int fd, const char* n, struct file_handle* h, int* mount, int how), (fd, n, h, mount, how))

// The mode is passed whether it is there or not, as the system call takes it.
#define OPENING(name)                                                          \
  int name(const char* path, int flags, ...) {                                 \
    static int (*real)(const char*, int, ...);                                 \
    if (!real) real = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, #name); \
    va_list rest;                                                              \
    va_start(rest, flags);                                                     \
    const mode_t mode = va_arg(rest, mode_t);                                  \
    va_end(rest);                                                              \
    return fails() ? -1 : real(path, flags, mode);                             \
  }
#define OPENING_AT(name)                                                            \
  int name(int fd, const char* path, int flags, ...) {                              \
    static int (*real)(int, const char*, int, ...);                                 \
    if (!real) real = (int (*)(int, const char*, int, ...))dlsym(RTLD_NEXT, #name); \
    va_list rest;                                                                   \
    va_start(rest, flags);                                                          \
    const mode_t mode = va_arg(rest, mode_t);                                       \
    va_end(rest);                                                                   \
    return fails() ? -1 : real(fd, path, flags, mode);                              \
  }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

int ioctl(int fd, unsigned long request, ...) {
  static int (*real)(int, unsigned long, ...);
  if (!real) real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  va_list rest;
  va_start(rest, request);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  return fails() ? -1 : real(fd, request, argument);
}

long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(rest, long);
  va_end(rest);
  const int counts = number == SYS_getdents64 || number == SYS_openat2 || number == SYS_statx ||
                     number == SYS_renameat2;
  return counts && fails() ? -1 : real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
