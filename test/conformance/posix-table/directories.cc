// Directories: reading them whole, in pieces, and while they change.
#include "table.h"

#include <stdio.h>
#include <string.h>

#include <set>

CASE("readdir: thousands of names, each once") {
  mkdir("d", 0755);
  for (int i = 0; i < 3000; i += 1) {
    char name[64];
    snprintf(name, sizeof name, "d/file-with-a-longer-name-%05d", i);
    close(open(name, O_CREAT | O_WRONLY, 0644));
  }
  DIR* dir = opendir("d");
  std::set<std::string> seen;
  int twice = 0, count = 0;
  while (const dirent* entry = readdir(dir)) {
    count += 1;
    if (!seen.insert(entry->d_name).second) twice += 1;
  }
  say("%d names, %d twice", count, twice);
  rewinddir(dir);
  count = 0;
  while (readdir(dir) != nullptr) count += 1;
  say("again %d", count);
  closedir(dir);
}
CASE("readdir: telldir and seekdir") {
  mkdir("d", 0755);
  for (int i = 0; i < 300; i += 1) {
    char name[32];
    snprintf(name, sizeof name, "d/%03d", i);
    close(open(name, O_CREAT | O_WRONLY, 0644));
  }
  DIR* dir = opendir("d");
  for (int i = 0; i < 100; i += 1) readdir(dir);
  const long here = telldir(dir);
  const std::string next = readdir(dir)->d_name;
  for (int i = 0; i < 50; i += 1) readdir(dir);
  seekdir(dir, here);
  say("same %d", next == readdir(dir)->d_name);
  closedir(dir);
}
CASE("readdir: removing while reading loses nothing else") {
  mkdir("d", 0755);
  for (int i = 0; i < 2000; i += 1) {
    char name[32];
    snprintf(name, sizeof name, "d/%04d", i);
    close(open(name, O_CREAT | O_WRONLY, 0644));
  }
  DIR* dir = opendir("d");
  int removed = 0;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    if (unlinkat(dirfd(dir), entry->d_name, 0) == 0) removed += 1;
  }
  closedir(dir);
  say("removed %d", removed);
  did("rmdir", rmdir("d"));
}
CASE("readdir: sees what was made before rewinding") {
  mkdir("d", 0755);
  DIR* dir = opendir("d");
  int count = 0;
  while (readdir(dir) != nullptr) count += 1;
  spit("d/new", "");
  rewinddir(dir);
  int again = 0;
  while (readdir(dir) != nullptr) again += 1;
  say("%d then %d", count, again);
  unlink("d/new");
  rewinddir(dir);
  again = 0;
  while (readdir(dir) != nullptr) again += 1;
  say("then %d", again);
  closedir(dir);
}
CASE("readdir: an empty and a removed directory") {
  mkdir("d", 0755);
  names("d");
  DIR* dir = opendir("d");
  rmdir("d");
  int count = 0;
  errno = 0;
  while (readdir(dir) != nullptr) count += 1;
  say("removed: %d entries", count);
  closedir(dir);
  names("d");
  spit("f", "");
  names("f");
}
CASE("directories: at-calls from a descriptor") {
  mkdir("d", 0755);
  const int dir = open("d", O_RDONLY | O_DIRECTORY);
  did("mkdirat", mkdirat(dir, "sub", 0755));
  const int fd = openat(dir, "f", O_CREAT | O_RDWR, 0644);
  opened("openat", fd);
  did("renameat", renameat(dir, "f", dir, "g"));
  did("linkat", linkat(dir, "g", AT_FDCWD, "h", 0));
  did("unlinkat dir as file", unlinkat(dir, "sub", 0));
  did("unlinkat dir", unlinkat(dir, "sub", AT_REMOVEDIR));
  names("d");
  did("fchdir", fchdir(dir));
  names(".");
  names("..");
}
CASE("directories: getcwd below a renamed one") {
  mkdir("a", 0755);
  mkdir("a/b", 0755);
  chdir("a/b");
  rename("../../a", "../../c");
  char buffer[4096];
  const char* cwd = getcwd(buffer, sizeof buffer);
  const char* slash = cwd == nullptr ? nullptr : strstr(cwd, "/c/b");
  say("%s", slash == nullptr ? "lost" : slash);
}
CASE("directories: cwd removed under one's feet") {
  mkdir("d", 0755);
  chdir("d");
  rmdir("../d");
  opened("create", open("x", O_CREAT | O_WRONLY, 0644));
  did("mkdir", mkdir("y", 0755));
  char buffer[64];
  say("getcwd %s", getcwd(buffer, sizeof buffer) == nullptr ? strerrorname_np(errno) : "there");
  names(".");
  did("parent", access("..", F_OK));
}
CASE("processes: four make and remove names side by side") {
  for (int p = 0; p < 4; p += 1) {
    if (fork() == 0) {
      for (int i = 0; i < 200; i += 1) {
        char a[32], b[32];
        snprintf(a, sizeof a, "p%d-%d", p, i);
        snprintf(b, sizeof b, "q%d-%d", p, i);
        const int fd = open(a, O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0 || write(fd, "x", 1) != 1 || rename(a, b) < 0) _exit(1);
        close(fd);
        if (i % 2 == 0 && unlink(b) < 0) _exit(2);
      }
      _exit(0);
    }
  }
  int status, bad = 0;
  while (wait(&status) > 0) bad += status != 0;
  int count = 0;
  DIR* dir = opendir(".");
  while (readdir(dir) != nullptr) count += 1;
  closedir(dir);
  say("bad %d names %d", bad, count);
}
CASE("processes: one winner of an exclusive create") {
  int pipes[2];
  if (pipe(pipes) < 0) return;
  for (int p = 0; p < 4; p += 1) {
    if (fork() == 0) {
      int won = 0;
      for (int i = 0; i < 100; i += 1) {
        char name[32];
        snprintf(name, sizeof name, "n%d", i);
        if (open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644) >= 0) won += 1;
      }
      if (write(pipes[1], &won, sizeof won) < 0) _exit(1);
      _exit(0);
    }
  }
  int total = 0;
  for (int p = 0; p < 4; p += 1) {
    int won = 0;
    if (read(pipes[0], &won, sizeof won) == sizeof won) total += won;
    wait(nullptr);
  }
  say("winners %d", total);
}

CASE("readdir: offsets stay good while entries come and go, with tiny buffers") {
  mkdir("d", 0755);
  for (int i = 0; i < 500; i += 1) close(open(("d/stay" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0644));
  const int dir = open("d", O_RDONLY | O_DIRECTORY);
  std::set<std::string> seen;
  int twice = 0, round = 0;
  alignas(8) char buffer[300];
  std::vector<int64_t> offsets;
  for (long size; (size = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0; round += 1) {
    for (long at = 0; at < size;) {
      uint64_t ino;
      int64_t offset;
      uint16_t length;
      memcpy(&ino, buffer + at, 8);
      memcpy(&offset, buffer + at + 8, 8);
      memcpy(&length, buffer + at + 16, 2);
      const std::string name = buffer + at + 19;
      if (name.starts_with("stay")) twice += !seen.insert(name).second;
      offsets.push_back(offset);
      at += length;
    }
    // What comes and goes in between moves nothing else.
    const std::string come = "d/come" + std::to_string(round);
    close(open(come.c_str(), O_CREAT | O_WRONLY, 0644));
    if (round % 3 == 2) unlink(("d/come" + std::to_string(round - 1)).c_str());
  }
  say("%zu stayed, %d twice", seen.size(), twice);
  // From each of some offsets on, another description reads the same names.
  const int other = open("d", O_RDONLY | O_DIRECTORY);
  int different = 0;
  for (size_t i = 0; i + 1 < offsets.size(); i += 37) {
    std::string names[2];
    const int both[] = {dir, other};
    for (int k = 0; k < 2; k += 1) {
      lseek(both[k], offsets[i], SEEK_SET);
      const long size = syscall(SYS_getdents64, both[k], buffer, sizeof buffer);
      names[k] = size > 0 ? buffer + 19 : "";
    }
    different += names[0] != names[1];
  }
  say("%d different", different);
  did("too small a buffer", syscall(SYS_getdents64, other, buffer, 10));
  did("fsync of a directory", fsync(dir));
  did("fdatasync of a directory", fdatasync(dir));
}
CASE("names: every byte but NUL and slash") {
  int failed = 0;
  for (int byte = 1; byte < 256; byte += 1) {
    const char name[] = {static_cast<char>(byte), 'x', static_cast<char>(byte), 0};
    if (byte == '/') continue;
    spit(name, "b");
    failed += access(name, F_OK) != 0;
  }
  say("%d failed", failed);
  names(".");
}
