// Names: creating, removing, renaming, linking, resolving.
#include "table.h"

#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static int rename2(const char* from, const char* to, unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}

CASE("create: exclusive, existing, missing parent, through a file") {
  opened("excl new", open("a", O_CREAT | O_EXCL | O_WRONLY, 0640));
  opened("excl old", open("a", O_CREAT | O_EXCL | O_WRONLY, 0640));
  opened("no parent", open("none/a", O_CREAT | O_WRONLY, 0640));
  opened("through file", open("a/b", O_CREAT | O_WRONLY, 0640));
  opened("directory flag on file", open("a", O_RDONLY | O_DIRECTORY));
  mkdir("d", 0755);
  opened("write a directory", open("d", O_WRONLY));
  opened("create on a directory", open("d", O_CREAT | O_RDWR, 0644));
  opened("trailing slash", open("new/", O_CREAT | O_WRONLY, 0644));
  look("a");
}
CASE("create: modes and umask") {
  for (const mode_t mask : {0u, 022u, 077u, 0777u}) {
    umask(mask);
    char file[16], dir[16], fifo[16];
    snprintf(file, sizeof file, "f%o", mask);
    snprintf(dir, sizeof dir, "d%o", mask);
    snprintf(fifo, sizeof fifo, "p%o", mask);
    close(open(file, O_CREAT | O_WRONLY, 07777));
    mkdir(dir, 07777);
    mkfifo(fifo, 0666);
    look(file);
    look(dir);
    look(fifo);
  }
}
CASE("names: long, odd bytes, dots") {
  std::string longest(NAME_MAX, 'x');
  std::string over(NAME_MAX + 1, 'x');
  opened("255", open(longest.c_str(), O_CREAT | O_WRONLY, 0644));
  opened("256", open(over.c_str(), O_CREAT | O_WRONLY, 0644));
  did("stat 256", access(over.c_str(), F_OK));
  did("mkdir 256", mkdir(over.c_str(), 0755));
  did("rename to 256", rename(longest.c_str(), over.c_str()));
  for (const char* name : {"\n", " ", "\x01", "\xff\xfe", "a\\b", "*", "~", "...", ".x", "\xc3\xa9"}) {
    close(open(name, O_CREAT | O_WRONLY, 0644));
  }
  did("mkdir .", mkdir(".", 0755));
  did("mkdir ..", mkdir("..", 0755));
  did("rmdir .", rmdir("."));
  did("unlink ..", unlink(".."));
  did("empty", open("", O_RDONLY));
  unlink(longest.c_str());
  names(".");
}
CASE("names: paths near PATH_MAX") {
  std::string part(200, 'd');
  int depth = 0;
  while (depth < 15 && mkdir(part.c_str(), 0755) == 0 && chdir(part.c_str()) == 0) depth += 1;
  say("depth %d", depth);
  spit("leaf", "deep");
  content("leaf");
  std::string path(PATH_MAX + 10, 'a');
  did("too long", access(path.c_str(), F_OK));
}
CASE("unlink: file, link, directory, missing, twice") {
  spit("f", "x");
  mkdir("d", 0755);
  did("symlink", symlink("f", "s"));
  did("unlink symlink", unlink("s"));
  look("f");
  did("unlink", unlink("f"));
  did("again", unlink("f"));
  did("directory", unlink("d"));
  did("through file", unlink("f/x"));
  names(".");
}
CASE("unlink: open file lives on") {
  const int fd = open("f", O_CREAT | O_RDWR, 0600);
  did("write", write(fd, "hello", 5));
  unlink("f");
  names(".");
  look_fd("open", fd);
  did("write more", pwrite(fd, "J", 1, 0));
  char buffer[8] = {};
  did("read", pread(fd, buffer, 5, 0));
  say("%s", buffer);
  did("truncate", ftruncate(fd, 2));
  did("chmod", fchmod(fd, 0644));
  look_fd("open", fd);
  did("link back", linkat(fd, "", AT_FDCWD, "back", AT_EMPTY_PATH));
  close(fd);
  names(".");
}
CASE("rmdir: empty, full, file, open directory") {
  mkdir("d", 0755);
  spit("d/f", "");
  did("full", rmdir("d"));
  did("file", rmdir("d/f"));
  unlink("d/f");
  const int fd = open("d", O_RDONLY | O_DIRECTORY);
  did("empty", rmdir("d"));
  look_fd("open", fd);
  did("create in removed", openat(fd, "x", O_CREAT | O_WRONLY, 0644));
  did("missing", rmdir("d"));
  symlink(".", "l");
  did("symlink", rmdir("l"));
}
CASE("rmdir: link counts of directories") {
  mkdir("d", 0755);
  look("d");
  mkdir("d/a", 0755);
  mkdir("d/b", 0755);
  look("d");
  rmdir("d/a");
  look("d");
  rename("d/b", "b");
  look("d");
}
CASE("rename: onto nothing, file, itself, kinds") {
  spit("a", "A");
  spit("b", "B");
  mkdir("d", 0755);
  mkdir("e", 0755);
  spit("e/x", "");
  did("a to c", rename("a", "c"));
  did("c to b", rename("c", "b"));
  content("b");
  did("itself", rename("b", "b"));
  did("missing", rename("a", "z"));
  did("file onto directory", rename("b", "d"));
  did("directory onto file", rename("d", "b"));
  did("directory onto full", rename("d", "e"));
  did("directory onto empty", rename("e", "d"));
  did("into itself", rename("d", "d/sub"));
  did("dot", rename(".", "q"));
  did("slash on file", rename("b", "c/"));
  names(".");
  names("d");
}
CASE("rename: hard links of one file") {
  spit("a", "A");
  link("a", "b");
  did("rename", rename("a", "b"));
  names(".");
  look("a");
}
CASE("rename: flags") {
  spit("a", "A");
  spit("b", "B");
  mkdir("d", 0755);
  spit("d/in", "D");
  did("noreplace old", rename2("a", "b", RENAME_NOREPLACE));
  did("noreplace new", rename2("a", "c", RENAME_NOREPLACE));
  did("exchange", rename2("c", "b", RENAME_EXCHANGE));
  content("c");
  content("b");
  did("exchange with directory", rename2("c", "d", RENAME_EXCHANGE));
  content("d");
  content("c/in");
  did("exchange missing", rename2("b", "none", RENAME_EXCHANGE));
  did("both", rename2("b", "x", RENAME_EXCHANGE | RENAME_NOREPLACE));
  did("unknown", rename2("b", "x", 1u << 20));
  did("whiteout", rename2("b", "w", RENAME_WHITEOUT));
  look("b");
  names(".");
}
CASE("rename: replaced file stays open") {
  spit("a", "A");
  spit("b", "B");
  const int fd = open("b", O_RDONLY);
  did("rename", rename("a", "b"));
  say("old: %s", slurp_fd(fd).c_str());
  look_fd("old", fd);
  content("b");
}
CASE("rename: directory with an open file and cwd below") {
  mkdir("d", 0755);
  mkdir("d/e", 0755);
  chdir("d/e");
  const int fd = open("f", O_CREAT | O_RDWR, 0644);
  did("rename", rename("../../d", "../../moved"));
  did("write", write(fd, "x", 1));
  content("f");
  did("via path", access("../../moved/e/f", F_OK));
  did("old path", access("../../d", F_OK));
}
CASE("link: counts, directory, existing, missing, symlink") {
  spit("a", "A");
  did("link", link("a", "b"));
  look("a");
  did("existing", link("a", "b"));
  did("missing", link("none", "c"));
  mkdir("d", 0755);
  did("directory", link("d", "dd"));
  symlink("a", "s");
  did("symlink itself", linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0));
  look("s2");
  did("symlink followed", linkat(AT_FDCWD, "s", AT_FDCWD, "s3", AT_SYMLINK_FOLLOW));
  look("s3");
  unlink("a");
  look("b");
  spit("b", "changed");
  content("s3");
}
CASE("link: same inode under both names") {
  spit("a", "A");
  link("a", "b");
  struct stat a, b;
  stat("a", &a);
  stat("b", &b);
  say("same %d", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
}
CASE("symlink: read, follow, loop, dangling, long") {
  did("symlink", symlink("target", "s"));
  look("s");
  char buffer[PATH_MAX];
  const ssize_t n = readlink("s", buffer, sizeof buffer);
  say("%.*s", static_cast<int>(n), buffer);
  did("short buffer", readlink("s", buffer, 3));
  opened("dangling", open("s", O_RDONLY));
  opened("create through", open("s", O_CREAT | O_WRONLY, 0644));
  names(".");
  opened("excl", open("s", O_CREAT | O_EXCL | O_WRONLY, 0644));
  opened("nofollow", open("s", O_RDONLY | O_NOFOLLOW));
  symlink("loop", "loop");
  opened("loop", open("loop", O_RDONLY));
  did("empty", symlink("", "e"));
  did("existing", symlink("x", "s"));
  std::string text(4095, 'l');
  did("4095", symlink(text.c_str(), "long"));
  text += 'l';
  did("4096", symlink(text.c_str(), "longer"));
  did("readlink of file", readlink("target", buffer, sizeof buffer));
  symlink("d/../../case-none/x", "up");
  opened("up", open("up", O_RDONLY));
}
CASE("mknod: fifo, socket, devices, regular") {
  did("fifo", mknod("p", S_IFIFO | 0600, 0));
  did("regular", mknod("r", S_IFREG | 0640, 0));
  did("socket", mknod("k", S_IFSOCK | 0600, 0));
  did("char", mknod("c", S_IFCHR | 0600, makedev(1, 3)));
  did("block", mknod("b", S_IFBLK | 0600, makedev(7, 200)));
  did("directory", mknod("d", S_IFDIR | 0600, 0));
  for (const char* name : {"p", "r", "k", "c", "b"}) look(name);
  did("existing", mknod("p", S_IFIFO | 0600, 0));
}
CASE("fifo: bytes pass between processes") {
  mkfifo("p", 0600);
  if (fork() == 0) {
    const int fd = open("p", O_WRONLY);
    _exit(write(fd, "through", 7) == 7 ? 0 : 1);
  }
  const int fd = open("p", O_RDONLY);
  say("%s", slurp_fd(fd).c_str());
  wait(nullptr);
}
CASE("socket: bind, connect by name, unlink") {
  const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, "sock");
  did("bind", bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address));
  did("listen", listen(server, 1));
  look("sock");
  const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  did("connect", connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address));
  opened("open", open("sock", O_RDONLY));
  did("unlink", unlink("sock"));
}
CASE("O_TMPFILE: nameless, then linked, or never") {
  const int fd = open(".", O_TMPFILE | O_RDWR, 0640);
  opened("tmpfile", fd);
  if (fd < 0) return;
  did("write", write(fd, "tmp", 3));
  look_fd("tmp", fd);
  names(".");
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  did("link", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  content("named");
  const int locked = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640);
  snprintf(path, sizeof path, "/proc/self/fd/%d", locked);
  did("link exclusive", linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
}
CASE("O_PATH and opening by /proc/self/fd") {
  spit("f", "path");
  const int fd = open("f", O_PATH);
  opened("O_PATH", fd);
  char c;
  did("read", read(fd, &c, 1));
  look_fd("stat", fd);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const int again = open(path, O_RDONLY);
  say("%s", slurp_fd(again).c_str());
}
CASE("paths: dots, doubled slashes, trailing slashes") {
  mkdir("d", 0755);
  spit("d/f", "x");
  for (const char* path : {"d/./f", "d//f", "./d/../d/f", "d/f/", "d/f/.", "d/", "d/.", "d/../d/"}) {
    did(path, access(path, F_OK));
  }
}
CASE("mkdir: existing, nested, odd modes") {
  did("new", mkdir("d", 0700));
  did("existing", mkdir("d", 0700));
  did("no parent", mkdir("x/y", 0755));
  spit("f", "");
  did("on file", mkdir("f", 0755));
  did("below file", mkdir("f/d", 0755));
  did("sticky", mkdir("t", 01777));
  look("t");
  did("slash", mkdir("s/", 0755));
  look("s");
}
CASE("inode numbers: stable over rename, different between files") {
  spit("a", "");
  spit("b", "");
  struct stat a, b, c;
  stat("a", &a);
  stat("b", &b);
  rename("a", "c");
  stat("c", &c);
  say("differ %d stable %d", a.st_ino != b.st_ino, a.st_ino == c.st_ino);
  DIR* dir = opendir(".");
  bool agree = true;
  while (const dirent* entry = readdir(dir)) {
    struct stat st;
    if (strcmp(entry->d_name, "..") == 0) continue;
    if (stat(entry->d_name, &st) == 0 && st.st_ino != entry->d_ino) agree = false;
  }
  closedir(dir);
  say("d_ino agrees %d", agree);
}
