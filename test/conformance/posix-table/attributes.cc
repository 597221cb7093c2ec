// Attributes: modes, owners, times, extended attributes, ACLs, statfs.
#include "table.h"

#include <limits.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>

#include <algorithm>

CASE("chmod: by path, by descriptor, on links, special bits") {
  spit("f", "");
  mkdir("d", 0755);
  symlink("f", "s");
  for (const mode_t mode : {0u, 0777u, 04755u, 02755u, 01777u, 06644u, 07777u}) {
    did("chmod f", chmod("f", mode));
    look("f");
    did("chmod d", chmod("d", mode));
    look("d");
  }
  did("through link", chmod("s", 0600));
  look("f");
  look("s");
  const int fd = open("f", O_RDONLY);
  did("fchmod", fchmod(fd, 0640));
  look("f");
  did("link itself", fchmodat(AT_FDCWD, "s", 0600, AT_SYMLINK_NOFOLLOW));
  did("missing", chmod("none", 0600));
}
CASE("chown: ids, -1, links, special bits cleared") {
  spit("f", "");
  symlink("f", "s");
  chmod("f", 06755);
  did("chown", chown("f", 1001, 1002));
  look("f");
  chmod("f", 02644);
  did("chown", chown("f", 1001, 1003));
  look("f");
  did("uid only", chown("f", 1004, -1));
  did("gid only", chown("f", -1, 1005));
  look("f");
  did("neither", chown("f", -1, -1));
  did("lchown", lchown("s", 1006, 1007));
  look("s");
  look("f");
  mkdir("d", 0755);
  chmod("d", 06755);
  did("directory", chown("d", 1001, 1002));
  look("d");
}
CASE("utimens: exact, now, omit, links, far past and future") {
  spit("f", "");
  struct stat st;
  timespec exact[] = {{1000000000, 123456789}, {1100000000, 987654321}};
  did("exact", utimensat(AT_FDCWD, "f", exact, 0));
  stat("f", &st);
  say("%ld.%09ld %ld.%09ld", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec,
      st.st_mtim.tv_nsec);
  timespec omit[] = {{0, UTIME_OMIT}, {1200000000, 1}};
  did("omit", utimensat(AT_FDCWD, "f", omit, 0));
  stat("f", &st);
  say("%ld %ld.%09ld", st.st_atim.tv_sec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  const Times before = times_of("f");
  timespec now[] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  did("now", utimensat(AT_FDCWD, "f", now, 0));
  moved("now", "f", before);
  timespec past[] = {{-1000, 0}, {-2000, 0}};
  did("before 1970", utimensat(AT_FDCWD, "f", past, 0));
  stat("f", &st);
  say("%ld %ld", st.st_atim.tv_sec, st.st_mtim.tv_sec);
  timespec later[] = {{4000000000, 5}, {5000000000, 6}};
  did("after 2038", utimensat(AT_FDCWD, "f", later, 0));
  stat("f", &st);
  say("%ld %ld", st.st_atim.tv_sec, st.st_mtim.tv_sec);
  symlink("f", "s");
  did("link", utimensat(AT_FDCWD, "s", exact, AT_SYMLINK_NOFOLLOW));
  lstat("s", &st);
  say("%ld", st.st_mtim.tv_sec);
  timespec bad[] = {{0, 2000000000}, {0, 0}};
  did("bad ns", utimensat(AT_FDCWD, "f", bad, 0));
  const int fd = open("f", O_RDONLY);
  did("by fd", futimens(fd, exact));
  stat("f", &st);
  say("%ld", st.st_mtim.tv_sec);
}
CASE("times: what moves what") {
  mkdir("d", 0755);
  spit("d/f", "x");
  Times file = times_of("d/f"), dir = times_of("d");
  usleep(15000);
  int fd = open("d/f", O_WRONLY);
  moved("open for write", "d/f", file);
  did("write", write(fd, "y", 1));
  close(fd);
  moved("write", "d/f", file);
  moved("write, parent", "d", dir);
  file = times_of("d/f");
  usleep(15000);
  chmod("d/f", 0600);
  moved("chmod", "d/f", file);
  file = times_of("d/f");
  usleep(15000);
  link("d/f", "d/g");
  moved("link", "d/f", file);
  moved("link, parent", "d", dir);
  file = times_of("d/f");
  dir = times_of("d");
  usleep(15000);
  rename("d/g", "d/h");
  moved("rename", "d/h", file);
  moved("rename, parent", "d", dir);
  file = times_of("d/f");
  dir = times_of("d");
  usleep(15000);
  unlink("d/h");
  moved("unlink", "d/f", file);
  moved("unlink, parent", "d", dir);
  file = times_of("d/f");
  usleep(15000);
  truncate("d/f", 0);
  moved("truncate", "d/f", file);
  file = times_of("d/f");
  usleep(15000);
  truncate("d/f", 0);
  moved("truncate to the same", "d/f", file);
  file = times_of("d/f");
  usleep(15000);
  fd = open("d/f", O_WRONLY);
  did("empty write", write(fd, "", 0));
  close(fd);
  moved("empty write", "d/f", file);
  file = times_of("d/f");
  usleep(15000);
  content("d/f");
  moved("read", "d/f", file);
  dir = times_of("d");
  usleep(15000);
  did("failed create", open("d/f", O_CREAT | O_EXCL | O_WRONLY, 0644));
  moved("failed create, parent", "d", dir);
}
CASE("times: a write through a mapping") {
  spit("f", "0123456789");
  const Times before = times_of("f");
  usleep(15000);
  const int fd = open("f", O_RDWR);
  char* map = static_cast<char*>(mmap(nullptr, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  map[0] = 'M';
  msync(map, 10, MS_SYNC);
  munmap(map, 10);
  close(fd);
  moved("mapped store", "f", before);
}
CASE("statx: birth time, mask, flags") {
  spit("f", "x");
  struct statx st;
  did("statx", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &st));
  say("size %llu nlink %u basic %d", static_cast<unsigned long long>(st.stx_size), st.stx_nlink,
      (st.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
  did("force sync", statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_SIZE, &st));
  did("bad flag", statx(AT_FDCWD, "f", 0x80000, STATX_SIZE, &st));
}
CASE("xattr: set, get, list, remove, sizes, flags") {
  spit("f", "");
  did("set", setxattr("f", "user.a", "value", 5, 0));
  did("create old", setxattr("f", "user.a", "v", 1, XATTR_CREATE));
  did("replace new", setxattr("f", "user.b", "v", 1, XATTR_REPLACE));
  did("create new", setxattr("f", "user.b", "", 0, XATTR_CREATE));
  char buffer[256] = {};
  did("size", getxattr("f", "user.a", nullptr, 0));
  did("get", getxattr("f", "user.a", buffer, sizeof buffer));
  say("%.5s", buffer);
  did("short", getxattr("f", "user.a", buffer, 2));
  did("missing", getxattr("f", "user.none", buffer, sizeof buffer));
  did("empty", getxattr("f", "user.b", buffer, sizeof buffer));
  const ssize_t n = listxattr("f", buffer, sizeof buffer);
  std::vector<std::string> list;
  for (ssize_t i = 0; i < n; i += static_cast<ssize_t>(strlen(buffer + i)) + 1) list.push_back(buffer + i);
  std::sort(list.begin(), list.end());
  for (const auto& name : list) say("%s", name.c_str());
  did("list short", listxattr("f", buffer, 3));
  did("remove", removexattr("f", "user.a"));
  did("again", removexattr("f", "user.a"));
  did("bad namespace", setxattr("f", "nonsense.a", "v", 1, 0));
  did("no namespace", setxattr("f", "a", "v", 1, 0));
  did("trusted", setxattr("f", "trusted.a", "v", 1, 0));
  std::string large(3000, 'x');
  did("3000 bytes", setxattr("f", "user.l", large.data(), large.size(), 0));
  std::string huge(XATTR_SIZE_MAX + 1, 'x');
  did("too large", setxattr("f", "user.h", huge.data(), huge.size(), 0));
  std::string long_name = "user." + std::string(251, 'n');
  did("name too long", setxattr("f", long_name.c_str(), "v", 1, 0));
  mkdir("d", 0755);
  did("directory", setxattr("d", "user.a", "dir", 3, 0));
  symlink("f", "s");
  did("symlink", lsetxattr("s", "user.a", "v", 1, 0));
  mkfifo("p", 0600);
  did("fifo", setxattr("p", "user.a", "v", 1, 0));
}

struct AclEntry {
  uint16_t tag;
  uint16_t perm;
  uint32_t id;
};
static std::string acl_bytes(std::initializer_list<AclEntry> entries) {
  std::string bytes("\x02\x00\x00\x00", 4);
  for (const AclEntry& entry : entries) bytes.append(reinterpret_cast<const char*>(&entry), 8);
  return bytes;
}
CASE("acl: access list decides, mask shows in the mode, chmod changes it") {
  spit("f", "secret", 0600);
  chmod(".", 0777);
  const std::string list = acl_bytes({{1, 6, ~0u}, {2, 4, 2001}, {4, 0, ~0u}, {16, 4, ~0u}, {32, 0, ~0u}});
  did("set", setxattr("f", "system.posix_acl_access", list.data(), list.size(), 0));
  look("f");
  as_user(2001, 2001, [] { content("f"); opened("write", open("f", O_WRONLY)); });
  as_user(2002, 2002, [] { content("f"); });
  did("chmod", chmod("f", 0606));
  look("f");
  as_user(2001, 2001, [] { content("f"); });
  char buffer[256];
  did("get", getxattr("f", "system.posix_acl_access", buffer, sizeof buffer));
  did("remove", removexattr("f", "system.posix_acl_access"));
  look("f");
  did("garbage", setxattr("f", "system.posix_acl_access", "xxxx", 4, 0));
}
CASE("acl: default list is inherited and replaces the umask") {
  mkdir("d", 0777);
  chmod("d", 0777);
  const std::string list = acl_bytes({{1, 7, ~0u}, {2, 6, 2001}, {4, 5, ~0u}, {16, 7, ~0u}, {32, 0, ~0u}});
  did("set", setxattr("d", "system.posix_acl_default", list.data(), list.size(), 0));
  umask(0777);
  close(open("d/f", O_CREAT | O_WRONLY, 0666));
  mkdir("d/sub", 0777);
  mkfifo("d/p", 0666);
  look("d/f");
  look("d/sub");
  look("d/p");
  char buffer[256];
  did("file list", getxattr("d/f", "system.posix_acl_access", buffer, sizeof buffer));
  did("sub default", getxattr("d/sub", "system.posix_acl_default", buffer, sizeof buffer));
  as_user(2001, 2001, [] { opened("write as 2001", open("d/f", O_WRONLY)); });
  did("default on file", setxattr("d/f", "system.posix_acl_default", list.data(), list.size(), 0));
}
CASE("statfs: sizes and name length") {
  struct statvfs st;
  did("statvfs", statvfs(".", &st));
  say("namemax %lu blocks %d bsize %lu", st.f_namemax, st.f_blocks > 0, st.f_bsize);
  spit("f", "");
  const int fd = open("f", O_RDONLY);
  did("fstatvfs", fstatvfs(fd, &st));
}
