// Processes that work on the same few names at the same time, with no order between them: whatever
// they get must be an error that such a race gives on any filesystem, never one of the file server's.
//
//   races DIRECTORY [SECONDS]
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>

namespace {

constexpr int kErrors = 200;
constexpr unsigned kProcesses = 6;

struct Shared {
  // By kind of operation and errno.
  unsigned counts[32][kErrors];
};

constexpr const char* kKinds[] = {"open to create", "open", "exclusive", "unlink", "rename", "exchange",
                                  "link", "mkdir", "rmdir", "stat", "list", "write", "chmod", "truncate",
                                  "setxattr", "symlink", "readlink", "tmpfile"};

bool fine(size_t kind, int error) {
  for (const int usual : {0, ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ELOOP, EPERM})
    if (error == usual) return true;
  // A directory into itself, or what is no link.
  const std::string name = kKinds[kind];
  return error == EINVAL && (name == "rename" || name == "exchange" || name == "readlink");
}

int run(unsigned kind, const std::string& a, const std::string& b) {
  char buffer[256];
  const auto closed = [](int fd) { return fd < 0 ? -1 : close(fd); };
  switch (kind) {
    case 0: return closed(open(a.c_str(), O_CREAT | O_RDWR | O_NONBLOCK, 0644));
    case 1: return closed(open(a.c_str(), O_RDONLY | O_NONBLOCK));
    case 2: return closed(open(a.c_str(), O_CREAT | O_EXCL | O_RDWR, 0644));
    case 3: return unlink(a.c_str());
    case 4: return rename(a.c_str(), b.c_str());
    case 5: return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), 2));
    case 6: return link(a.c_str(), b.c_str());
    case 7: return mkdir(a.c_str(), 0755);
    case 8: return rmdir(a.c_str());
    case 9: { struct stat st; return stat(a.c_str(), &st); }
    case 10: {
      DIR* const directory = opendir(a.c_str());
      if (!directory) return -1;
      errno = 0;
      while (readdir(directory)) {
      }
      const int error = errno;
      closedir(directory);
      errno = error;
      return error ? -1 : 0;
    }
    case 11: {
      const int fd = open(a.c_str(), O_RDWR | O_NONBLOCK);
      if (fd < 0) return -1;
      const ssize_t wrote = pwrite(fd, a.data(), a.size(), 0);
      if (wrote < 0 || pread(fd, buffer, sizeof buffer, 0) < 0) { const int e = errno; close(fd); errno = e; return -1; }
      struct stat st;
      const int seen = fstat(fd, &st);
      close(fd);
      return seen;
    }
    case 12: return chmod(a.c_str(), 0755);
    case 13: return truncate(a.c_str(), 3);
    case 14: return setxattr(a.c_str(), "user.x", "v", 1, 0);
    case 15: return symlink(b.c_str(), a.c_str());
    case 16: return readlink(a.c_str(), buffer, sizeof buffer) < 0 ? -1 : 0;
    default: return closed(open(a.c_str(), O_TMPFILE | O_RDWR, 0600));
  }
}

void work(Shared& shared, unsigned process, time_t end) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::mt19937_64 random(process + 1);
  const auto name = [&] {
    std::string path;
    for (unsigned depth = 1 + random() % 2; depth > 0; depth -= 1)
      path += (path.empty() ? "" : "/") + std::string(1, static_cast<char>('a' + random() % 3));
    return path;
  };
  while (time(nullptr) < end)
    for (int i = 0; i < 50; i += 1) {
      const unsigned kind = static_cast<unsigned>(random() % std::size(kKinds));
      const int error = run(kind, name(), name()) < 0 ? errno : 0;
      __atomic_fetch_add(&shared.counts[kind][error < kErrors ? error : kErrors - 1], 1, __ATOMIC_RELAXED);
    }
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || chdir(argv[1]) < 0) {
    fprintf(stderr, "usage: races DIRECTORY [SECONDS]\n");
    return 2;
  }
  auto* const shared = static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const time_t end = time(nullptr) + (argc > 2 ? atoi(argv[2]) : 3);
  for (unsigned process = 0; process < kProcesses; process += 1)
    if (fork() == 0) work(*shared, process, end);
  int status, died = 0;
  while (wait(&status) > 0) died += status != 0;
  unsigned all = 0, wrong = 0;
  for (size_t kind = 0; kind < std::size(kKinds); kind += 1)
    for (int error = 0; error < kErrors; error += 1) {
      const unsigned count = shared->counts[kind][error];
      all += count;
      if (count == 0 || fine(kind, error)) continue;
      wrong += count;
      printf("%s: %s, %u times\n", kKinds[kind], strerrorname_np(error), count);
    }
  printf("%u operations, %u wrong, %d died\n", all, wrong, died);
  return wrong || died ? 1 : 0;
}
