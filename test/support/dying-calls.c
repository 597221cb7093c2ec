// Preloaded into the daemon: it is killed right before its Nth call that changes something outside of
// it, be it a file, a mount, or what the kernel or a client is told. dying-calls.ts builds it and steers
// it through a shared page.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
  _Atomic int64_t at;  // the call that is not made, from 1 on; 0: nothing is counted
  _Atomic int64_t calls;
};

static struct control* control;

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("INSITU_TEST_DEATH");
  if (!path) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  void* page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) control = page;
}

static void step(void) {
  if (!control) return;
  const int64_t at = atomic_load(&control->at);
  if (at == 0) return;
  if (atomic_fetch_add(&control->calls, 1) + 1 == at) kill(getpid(), SIGKILL);
}

// Files, sockets, and /dev/fuse; not the wake-ups of threads, and not the log.
static void step_with(int fd) {
  struct stat info;
  if (!control || atomic_load(&control->at) == 0 || fd <= 2 || fstat(fd, &info) < 0) return;
  const int fuse = S_ISCHR(info.st_mode) && info.st_rdev == makedev(10, 229);
  if (S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode) || fuse) step();
}

#define CALL(how, result, name, parameters, arguments)                 \
  result name parameters {                                             \
    static result(*real) parameters;                                   \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);   \
    how;                                                               \
    return real arguments;                                             \
  }

CALL(step(), int, mkdir, (const char* path, mode_t mode), (path, mode))
CALL(step(), int, mkdirat, (int fd, const char* path, mode_t mode), (fd, path, mode))
CALL(step(), int, rmdir, (const char* path), (path))
CALL(step(), int, unlink, (const char* path), (path))
CALL(step(), int, unlinkat, (int fd, const char* path, int how), (fd, path, how))
CALL(step(), int, rename, (const char* from, const char* to), (from, to))
CALL(step(), int, chmod, (const char* path, mode_t mode), (path, mode))
CALL(step(), int, chown, (const char* path, uid_t uid, gid_t gid), (path, uid, gid))
CALL(step(), int, bind, (int fd, const struct sockaddr* at, socklen_t size), (fd, at, size))
CALL(step(), int, mount, (const char* a, const char* b, const char* c, unsigned long d, const void* e), (a, b, c, d, e))
CALL(step(), int, umount2, (const char* path, int how), (path, how))
CALL(step(), int, ftruncate64, (int fd, off64_t size), (fd, size))
CALL(step_with(fd), ssize_t, write, (int fd, const void* data, size_t size), (fd, data, size))
CALL(step_with(fd), ssize_t, pwrite64, (int fd, const void* data, size_t size, off64_t at), (fd, data, size, at))
CALL(step_with(fd), ssize_t, writev, (int fd, const struct iovec* v, int n), (fd, v, n))
