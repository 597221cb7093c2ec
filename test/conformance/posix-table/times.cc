// Times: which of an object's move with what, at once, and for everybody.
#include "table.h"

#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

namespace {

// Coarse clocks tick every 4 ms.
void tick() { usleep(6'000); }

bool later(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

// Runs `body` and says which times moved of each path that was and is there.
void moves(const char* title, const std::vector<const char*>& paths, const std::function<void()>& body,
           bool access = true) {
  std::vector<Times> before;
  for (const char* path : paths) before.push_back(times_of(path));
  tick();
  body();
  std::string line;
  for (size_t i = 0; i < paths.size(); i += 1) {
    const Times now = times_of(paths[i]);
    line += std::string(" ") + paths[i] + ":";
    if (access && later(now.access, before[i].access)) line += "a";
    if (later(now.modify, before[i].modify)) line += "m";
    if (later(now.change, before[i].change)) line += "c";
  }
  say("%s%s", title, line.c_str());
}

}  // namespace

CASE("times: names") {
  mkdir("d", 0755);
  mkdir("e", 0755);
  spit("d/f", "x");
  symlink("f", "d/s");
  moves("create", {"d"}, [] { spit("d/new", ""); });
  moves("open of old with O_CREAT", {"d", "d/f"}, [] { close(open("d/f", O_CREAT | O_WRONLY, 0600)); });
  moves("mkdir", {"d"}, [] { mkdir("d/sub", 0755); });
  moves("mkfifo", {"d"}, [] { mkfifo("d/p", 0600); });
  moves("symlink", {"d"}, [] { symlink("x", "d/t"); });
  moves("link", {"d", "e", "d/f"}, [] { link("d/f", "e/g"); });
  moves("rename", {"d", "e", "d/f"}, [] { rename("e/g", "e/h"); });
  moves("rename across", {"d", "e", "d/f"}, [] { rename("e/h", "d/h"); });
  moves("rename over itself", {"d", "d/f", "d/h"}, [] { rename("d/h", "d/f"); });
  moves("rename of directory", {"d", "e", "d/sub", "e/sub"}, [] { rename("d/sub", "e/sub"); });
  spit("d/victim", "v");
  link("d/victim", "e/victim");
  moves("rename over", {"d", "d/new", "e/victim"}, [] { rename("d/new", "d/victim"); });
  moves("exchange", {"d", "e", "d/f", "e/sub"}, [] {
    syscall(SYS_renameat2, AT_FDCWD, "d/f", AT_FDCWD, "e/sub", RENAME_EXCHANGE);
  });
  moves("unlink", {"d", "e", "d/h", "e/victim"}, [] { unlink("d/h"); });
  moves("unlink of link", {"d"}, [] { unlink("d/s"); });
  moves("rmdir", {"d", "e"}, [] { rmdir("d/f"); });
  moves("failed unlink", {"d"}, [] { unlink("d/none"); });
  moves("failed mkdir", {"d"}, [] { mkdir("d/victim", 0755); });
}
CASE("times: attributes") {
  mkdir("d", 0755);
  spit("d/f", "x");
  symlink("f", "d/s");
  moves("chmod", {"d", "d/f"}, [] { chmod("d/f", 0600); });
  moves("chmod to the same", {"d", "d/f"}, [] { chmod("d/f", 0600); });
  moves("chown", {"d", "d/f"}, [] { chown("d/f", 1, 1); });
  moves("chown to nobody new", {"d", "d/f"}, [] { chown("d/f", -1, -1); });
  moves("lchown", {"d", "d/s"}, [] { lchown("d/s", 1, 1); });
  moves("setxattr", {"d", "d/f"}, [] { setxattr("d/f", "user.x", "v", 1, 0); });
  moves("setxattr to the same", {"d", "d/f"}, [] { setxattr("d/f", "user.x", "v", 1, 0); });
  moves("getxattr", {"d", "d/f"}, [] { char b[9]; getxattr("d/f", "user.x", b, 9); });
  moves("removexattr", {"d", "d/f"}, [] { removexattr("d/f", "user.x"); });
  moves("utimes of access", {"d/f"}, [] {
    const timespec times[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    utimensat(AT_FDCWD, "d/f", times, 0);
  });
  moves("utimes of nothing", {"d/f"}, [] {
    const timespec times[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    utimensat(AT_FDCWD, "d/f", times, 0);
  });
  moves("failed chown", {"d/f"}, [] { as_user(3001, 3001, [] { chown("d/f", 3001, -1); }); });
  const int fd = open("d/f", O_RDONLY);
  int flags = 0;
  did("get flags", ioctl(fd, FS_IOC_GETFLAGS, &flags));
  flags |= FS_NODUMP_FL;
  moves("inode flags", {"d/f"}, [&] { ioctl(fd, FS_IOC_SETFLAGS, &flags); });
}
CASE("times: bytes") {
  spit("f", "0123456789");
  const int fd = open("f", O_RDWR);
  char c = 'x';
  moves("write", {"f"}, [&] { pwrite(fd, &c, 1, 0); });
  moves("write of nothing", {"f"}, [&] { pwrite(fd, &c, 0, 0); });
  moves("ftruncate", {"f"}, [&] { ftruncate(fd, 5); });
  moves("ftruncate to the same", {"f"}, [&] { ftruncate(fd, 5); });
  moves("truncate to the same", {"f"}, [] { truncate("f", 5); });
  moves("O_TRUNC", {"f"}, [] { close(open("f", O_WRONLY | O_TRUNC)); });
  moves("O_TRUNC of empty", {"f"}, [] { close(open("f", O_WRONLY | O_TRUNC)); });
  moves("reserve", {"f"}, [&] { fallocate(fd, 0, 0, 9000); });
  moves("punch", {"f"}, [&] { fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096); });
  moves("copy_file_range", {"f"}, [&] {
    loff_t from = 0, to = 5000;
    copy_file_range(fd, &from, fd, &to, 100, 0);
  });
  moves("fsync", {"f"}, [&] { fsync(fd); });
  moves("seek", {"f"}, [&] { lseek(fd, 0, SEEK_DATA); });
  const int append = open("f", O_WRONLY | O_APPEND);
  moves("append", {"f"}, [&] { write(append, &c, 1); });
  moves("append by another process", {"f"}, [&] { as_user(0, 0, [&] { write(append, &c, 1); }); });
}
CASE("times and sizes: after mapped stores, for others too") {
  spit("f", std::string(8192, 'a').c_str());
  const int fd = open("f", O_RDWR);
  char* const map = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  // A page may have to be read first, which is an access where that comes by the file server.
  moves("store and msync", {"f"}, [&] { map[0] = 'b'; msync(map, 8192, MS_SYNC); }, false);
  moves("again", {"f"}, [&] { map[1] = 'b'; msync(map, 8192, MS_SYNC); }, false);
  moves("by another process", {"f"}, [&] {
    as_user(0, 0, [&] { map[4096] = 'c'; msync(map, 8192, MS_SYNC); });
  }, false);
  const Times before = times_of("f");
  tick();
  map[2] = 'd';
  msync(map, 8192, MS_SYNC);
  as_user(0, 0, [&] { moved("seen by another process", "f", before); });
  close(fd);
  const Times closed = times_of("f");
  tick();
  map[3] = 'e';
  msync(map, 8192, MS_SYNC);
  moved("after the close", "f", closed);
  as_user(0, 0, [] {
    const int other = open("f", O_WRONLY);
    pwrite(other, "end", 3, 10'000);
    _exit(0);
  });
  look("f");
  content("f");
}
CASE("sizes: a write is seen at once by all descriptors and processes") {
  spit("f", "0123456789");
  const int a = open("f", O_RDWR), b = open("f", O_RDONLY), c = open("f", O_WRONLY | O_APPEND);
  look("f");
  for (const int fd : {a, c}) {
    pwrite(fd, "more", 4, 20);
    look_fd("reader", b);
    look("f");
    as_user(0, 0, [] { look("f"); });
  }
  as_user(0, 0, [] {
    const int fd = open("f", O_WRONLY | O_APPEND);
    write(fd, "child", 5);
  });
  look_fd("reader", b);
  look("f");
  ftruncate(a, 3);
  look_fd("reader", b);
  look("f");
  as_user(0, 0, [] { truncate("f", 100); });
  look_fd("reader", b);
  look("f");
  struct stat st;
  stat("f", &st);
  fsync(a);
  pwrite(a, std::string(65536, 'x').data(), 65536, 0);
  fsync(a);
  stat("f", &st);
  say("blocks %ld", st.st_blocks);
}
CASE("opens of one inode in all ways at once") {
  spit("f", std::string(8192, 'a').c_str(), 0755);
  const int flags[] = {O_RDONLY, O_RDWR, O_RDWR | O_DIRECT, O_WRONLY | O_APPEND, O_RDONLY | O_DIRECT,
                       O_RDWR | O_SYNC, O_RDONLY | O_NOATIME, O_PATH};
  std::vector<int> all;
  for (int round = 0; round < 3; round += 1) {
    for (const int flag : flags) all.push_back(opened("open", open("f", flag)));
    chmod("f", round == 0 ? 04755 : 0755);
    as_user(3001, 3001, [] { opened("user", open("f", O_RDONLY)); });
    void* const map = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, all[1], 0);
    void* const last = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, all[all.size() - 7], 0);
    say("maps %d %d", map != MAP_FAILED, last != MAP_FAILED);
    if (map == MAP_FAILED || last == MAP_FAILED) continue;
    static_cast<char*>(map)[round] = 'M';
    say("%c", static_cast<char*>(last)[round]);
    pwrite(all[all.size() - 7], "W", 1, 100 + round);
    say("%c", static_cast<char*>(map)[100 + round]);
    char text[4] = {};
    pread(all[0], text, 3, 0);
    say("%s", text);
  }
  for (const int fd : all) close(fd);
  content("f");
}
