// Bytes: reading, writing, truncating, mapping, allocating, copying, locking.
#include "table.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <poll.h>
#include <signal.h>

CASE("write: positions, gaps, append") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  did("write", write(fd, "hello", 5));
  did("pwrite gap", pwrite(fd, "end", 3, 10));
  did("lseek", lseek(fd, 0, SEEK_CUR));
  content("f");
  close(fd);
  const int app = open("f", O_WRONLY | O_APPEND);
  did("append", write(app, "+", 1));
  did("pwrite on append", pwrite(app, "!", 1, 0));
  did("lseek", lseek(app, 0, SEEK_CUR));
  content("f");
  did("read of write-only", read(app, nullptr, 0));
}
CASE("write: two appenders interleave and lose nothing") {
  for (int i = 0; i < 2; i += 1) {
    if (fork() == 0) {
      const int fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
      for (int n = 0; n < 500; n += 1) {
        if (write(fd, "0123456789\n", 11) != 11) _exit(1);
      }
      _exit(0);
    }
  }
  while (wait(nullptr) > 0) {
  }
  content("log");
}
CASE("read: at and past the end, vectors, negative offset") {
  spit("f", "0123456789");
  const int fd = open("f", O_RDONLY);
  char a[4] = {}, b[4] = {};
  iovec parts[] = {{a, 3}, {b, 3}};
  did("readv", readv(fd, parts, 2));
  say("%s %s", a, b);
  did("past end", pread(fd, a, 3, 100));
  did("across end", pread(fd, a, 4, 8));
  did("negative", pread(fd, a, 1, -1));
  did("write of read-only", write(fd, "x", 1));
  mkdir("d", 0755);
  const int dir = open("d", O_RDONLY);
  did("read directory", read(dir, a, 1));
}
CASE("lseek: ends, holes, data") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  pwrite(fd, "x", 1, 1 << 20);
  did("end", lseek(fd, 0, SEEK_END));
  did("before", lseek(fd, -1, SEEK_SET));
  did("data", lseek(fd, 0, SEEK_DATA));
  did("hole", lseek(fd, 0, SEEK_HOLE));
  did("hole after data", lseek(fd, 1 << 20, SEEK_HOLE));
  did("data past end", lseek(fd, 2 << 20, SEEK_DATA));
  did("bad whence", lseek(fd, 0, 99));
}
CASE("truncate: shrink, grow, by path, by descriptor, errors") {
  spit("f", "0123456789");
  did("shrink", truncate("f", 4));
  content("f");
  did("grow", truncate("f", 8));
  content("f");
  const int read_only = open("f", O_RDONLY);
  did("read-only fd", ftruncate(read_only, 0));
  did("negative", truncate("f", -1));
  mkdir("d", 0755);
  did("directory", truncate("d", 0));
  const int fd = open("f", O_RDWR | O_TRUNC);
  look_fd("O_TRUNC", fd);
  did("large", ftruncate(fd, 5ll << 30));
  look("f");
  did("write far", pwrite(fd, "end", 3, (5ll << 30) - 3));
  char buffer[4] = {};
  did("read far", pread(fd, buffer, 3, (5ll << 30) - 3));
  say("%s", buffer);
}
CASE("truncate: open mapping sees zeros after growth") {
  spit("f", "abcdef");
  const int fd = open("f", O_RDWR);
  char* map = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  say("map %d", map != MAP_FAILED);
  did("shrink", ftruncate(fd, 3));
  did("grow", ftruncate(fd, 6));
  say("%d %d %d %d", map[2], map[3], map[4], map[5]);
}
CASE("mmap: shared stores reach the file, private ones do not") {
  spit("f", "0123456789");
  const int fd = open("f", O_RDWR);
  char* shared = static_cast<char*>(mmap(nullptr, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  char* own = static_cast<char*>(mmap(nullptr, 10, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  own[0] = 'P';
  shared[1] = 'S';
  did("msync", msync(shared, 10, MS_SYNC));
  content("f");
  did("pwrite", pwrite(fd, "W", 1, 2));
  say("%.10s", shared);
  munmap(shared, 10);
  close(fd);
  content("f");
  const int reader = open("f", O_RDONLY);
  say("write map of read-only fd: %d",
      mmap(nullptr, 10, PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED);
}
CASE("mmap: two processes share a page") {
  spit("f", "0000");
  const int fd = open("f", O_RDWR);
  volatile char* map =
      static_cast<char*>(mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (fork() == 0) {
    const int again = open("f", O_RDWR);
    char* other = static_cast<char*>(mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0));
    other[0] = 'C';
    _exit(0);
  }
  wait(nullptr);
  say("%c", map[0]);
}
CASE("fallocate: collapse, insert") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  std::string block(16384, 'x');
  did("write", write(fd, block.data(), block.size()));
  did("collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
  look("f");
  did("insert", fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096));
  content("f");
}
CASE("fallocate: reserve, keep size, punch, zero") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  std::string block(16384, 'x');
  did("write", write(fd, block.data(), block.size()));
  did("reserve", fallocate(fd, 0, 0, 32768));
  look("f");
  did("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 65536));
  look("f");
  did("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
  content("f");
  did("zero", fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
  content("f");
  did("zero length", fallocate(fd, 0, 0, 0));
  did("negative", fallocate(fd, 0, -1, 10));
  const int reader = open("f", O_RDONLY);
  did("read-only", fallocate(reader, 0, 0, 10));
}
CASE("copy_file_range and sendfile") {
  spit("a", "0123456789");
  const int in = open("a", O_RDONLY);
  const int out = open("b", O_CREAT | O_RDWR, 0644);
  did("copy", copy_file_range(in, nullptr, out, nullptr, 6, 0));
  loff_t from = 2, to = 20;
  did("offsets", copy_file_range(in, &from, out, &to, 100, 0));
  content("b");
  off_t start = 0;
  did("sendfile", sendfile(out, in, &start, 3));
  content("b");
  const int app = open("b", O_WRONLY | O_APPEND);
  did("to append", copy_file_range(in, &from, app, nullptr, 1, 0));
  did("from write-only", copy_file_range(app, &from, out, nullptr, 1, 0));
  from = 0;
  to = 2;
  const int same = open("b", O_RDWR);
  did("overlap", copy_file_range(same, &from, same, &to, 5, 0));
}
CASE("fsync, fdatasync, sync_file_range, syncfs, on files and directories") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  did("write", write(fd, "x", 1));
  did("fsync", fsync(fd));
  did("fdatasync", fdatasync(fd));
  did("range", sync_file_range(fd, 0, 1, SYNC_FILE_RANGE_WRITE));
  did("syncfs", syncfs(fd));
  mkdir("d", 0755);
  const int dir = open("d", O_RDONLY | O_DIRECTORY);
  did("directory", fsync(dir));
  const int reader = open("f", O_RDONLY);
  did("read-only", fsync(reader));
}
CASE("direct I/O") {
  const int fd = open("f", O_CREAT | O_RDWR | O_DIRECT, 0644);
  opened("open", fd);
  if (fd < 0) return;
  void* buffer = nullptr;
  if (posix_memalign(&buffer, 4096, 8192) != 0) return;
  memset(buffer, 'd', 8192);
  did("write", write(fd, buffer, 8192));
  memset(buffer, 0, 8192);
  did("read", pread(fd, buffer, 4096, 4096));
  say("%c", static_cast<char*>(buffer)[100]);
  const int cached = open("f", O_RDWR);
  did("cached write", pwrite(cached, "C", 1, 4096));
  did("direct read", pread(fd, buffer, 4096, 4096));
  say("%c", static_cast<char*>(buffer)[0]);
  content("f");
}
CASE("two descriptors see each other's writes at once") {
  const int a = open("f", O_CREAT | O_RDWR, 0644);
  const int b = open("f", O_RDONLY);
  char buffer[8] = {};
  did("write", write(a, "one", 3));
  did("read", read(b, buffer, 8));
  did("write", write(a, "two", 3));
  did("read", read(b, buffer, 8));
  look_fd("size", b);
  did("truncate", ftruncate(a, 1));
  look_fd("size", b);
  look("f");
}
CASE("locks: flock and fcntl between processes") {
  spit("f", "0123456789");
  const int fd = open("f", O_RDWR);
  did("flock", flock(fd, LOCK_EX));
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_start = 2;
  range.l_len = 3;
  did("fcntl", fcntl(fd, F_SETLK, &range));
  as_user(0, 0, [] {
    const int other = open("f", O_RDWR);
    did("child flock", flock(other, LOCK_EX | LOCK_NB));
    struct flock probe = {};
    probe.l_type = F_WRLCK;
    probe.l_len = 2;
    did("child free range", fcntl(other, F_SETLK, &probe));
    probe.l_start = 4;
    did("child taken range", fcntl(other, F_SETLK, &probe));
    probe.l_start = 0;
    probe.l_len = 10;
    did("child asks", fcntl(other, F_GETLK, &probe));
    say("type %d start %ld len %ld", probe.l_type, static_cast<long>(probe.l_start),
        static_cast<long>(probe.l_len));
  });
  close(fd);
  as_user(0, 0, [] {
    const int other = open("f", O_RDWR);
    did("child flock after close", flock(other, LOCK_EX | LOCK_NB));
  });
}
CASE("locks: open file description locks and leases") {
  spit("f", "x");
  const int a = open("f", O_RDWR);
  const int b = open("f", O_RDWR);
  struct flock range = {};
  range.l_type = F_WRLCK;
  did("ofd", fcntl(a, F_OFD_SETLK, &range));
  did("ofd other", fcntl(b, F_OFD_SETLK, &range));
}
CASE("inotify-free changes: poll on a regular file is always ready") {
  spit("f", "x");
  pollfd entry = {open("f", O_RDWR), POLLIN | POLLOUT, 0};
  did("poll", poll(&entry, 1, 0));
  say("%x", entry.revents);
}
CASE("ioctl: unknown and FIONREAD") {
  spit("f", "12345");
  const int fd = open("f", O_RDONLY);
  int left = -1;
  did("FIONREAD", ioctl(fd, FIONREAD, &left));
  say("%d", left);
  did("TCGETS", ioctl(fd, 0x5401, &left));
}
CASE("open flags: O_TRUNC needs write, O_NOATIME, O_CLOEXEC, O_SYNC") {
  spit("f", "12345");
  opened("noatime", open("f", O_RDONLY | O_NOATIME));
  const int fd = open("f", O_WRONLY | O_SYNC);
  did("sync write", write(fd, "ab", 2));
  const int ds = open("f", O_WRONLY | O_DSYNC);
  did("dsync write", write(ds, "c", 1));
  content("f");
  say("flags %x", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
  opened("access mode 3", open("f", 3));
}
CASE("data past 4 GiB") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  const off_t far = (4ll << 30) + 123;
  did("write", pwrite(fd, "far", 3, far));
  char buffer[4] = {};
  did("read", pread(fd, buffer, 3, far));
  say("%s", buffer);
  look("f");
  struct stat st;
  fstat(fd, &st);
  say("sparse %d", st.st_blocks < 1000);
}
CASE("large sequential write and read back") {
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  std::string block(1 << 20, 0);
  for (int i = 0; i < 8; i += 1) {
    for (size_t k = 0; k < block.size(); k += 1) block[k] = static_cast<char>(i * 31 + k * 7 + (k >> 9));
    if (write(fd, block.data(), block.size() - 13) != static_cast<ssize_t>(block.size() - 13)) did("write", -1);
  }
  content("f");
  look("f");
}
CASE("executing: a file open for writing, and one that runs") {
  spit("run", "#!/bin/sh\n", 0755);
  const int writer = open("run", O_WRONLY);
  if (fork() == 0) {
    execl("./run", "run", nullptr);
    _exit(errno == ETXTBSY ? 7 : 8);
  }
  int status;
  wait(&status);
  say("while written %d", WEXITSTATUS(status));
  close(writer);
  // A real program, since a script only runs its interpreter.
  const int source = open("/bin/sleep", O_RDONLY), target = open("sleep", O_CREAT | O_WRONLY, 0755);
  while (sendfile(target, source, nullptr, 1 << 20) > 0) {
  }
  close(target);
  const pid_t pid = fork();
  if (pid == 0) {
    execl("./sleep", "sleep", "20", nullptr);
    _exit(9);
  }
  usleep(200'000);
  opened("write", open("sleep", O_WRONLY));
  did("truncate", truncate("sleep", 0));
  opened("read", open("sleep", O_RDONLY));
  did("unlink", unlink("sleep"));
  kill(pid, SIGKILL);
  wait(&status);
  say("killed %d", WTERMSIG(status));
}
