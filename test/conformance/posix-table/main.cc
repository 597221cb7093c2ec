#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <grp.h>

#include <algorithm>

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

void say(const char* format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
  fflush(stdout);
}

long did(const char* what, long result) {
  const int error = errno;
  if (result < 0) {
    say("%s: %s", what, strerrorname_np(error));
  } else {
    say("%s: %ld", what, result);
  }
  errno = error;
  return result;
}

int opened(const char* what, int fd) {
  if (fd < 0) {
    did(what, fd);
  } else {
    say("%s: ok", what);
  }
  return fd;
}

static void describe(const char* what, const struct stat& st) {
  const char* type = S_ISREG(st.st_mode)    ? "file"
                     : S_ISDIR(st.st_mode)  ? "directory"
                     : S_ISLNK(st.st_mode)  ? "link"
                     : S_ISFIFO(st.st_mode) ? "fifo"
                     : S_ISSOCK(st.st_mode) ? "socket"
                     : S_ISCHR(st.st_mode)  ? "char"
                     : S_ISBLK(st.st_mode)  ? "block"
                                            : "?";
  // A directory's size is the filesystem's own business.
  const long long size = S_ISDIR(st.st_mode) ? 0 : st.st_size;
  say("%s: %s %04o %u:%u links %lu size %lld rdev %lx blksize-ok %d", what, type,
      st.st_mode & 07777, st.st_uid, st.st_gid, static_cast<unsigned long>(st.st_nlink), size,
      static_cast<unsigned long>(st.st_rdev), st.st_blksize > 0);
}

void look(const char* path) {
  struct stat st;
  if (lstat(path, &st) < 0) {
    did(path, -1);
    return;
  }
  describe(path, st);
}

void look_fd(const char* what, int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0) {
    did(what, -1);
    return;
  }
  describe(what, st);
}

std::string slurp_fd(int fd) {
  std::string all;
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    all.append(buffer, static_cast<size_t>(n));
  }
  return all;
}

void content(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    did(path, -1);
    return;
  }
  const std::string all = slurp_fd(fd);
  close(fd);
  uint64_t hash = 14695981039346656037u;
  for (const unsigned char c : all) hash = (hash ^ c) * 1099511628211u;
  std::string quoted;
  for (const unsigned char c : all.substr(0, 60)) {
    if (c >= 32 && c < 127) {
      quoted += static_cast<char>(c);
    } else {
      char hex[5];
      snprintf(hex, sizeof hex, "\\x%02x", c);
      quoted += hex;
    }
  }
  say("%s = \"%s\" (%zu bytes, %016llx)", path, quoted.c_str(), all.size(),
      static_cast<unsigned long long>(hash));
}

void names(const char* path) {
  DIR* dir = opendir(path);
  if (dir == nullptr) {
    did(path, -1);
    return;
  }
  std::vector<std::string> found;
  while (const dirent* entry = readdir(dir)) {
    struct stat st;
    const bool there = fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    const bool type_right = !there || entry->d_type == DT_UNKNOWN ||
                            IFTODT(st.st_mode) == static_cast<unsigned>(entry->d_type);
    found.push_back(std::string(entry->d_name) + (type_right ? "" : "(wrong d_type)"));
  }
  closedir(dir);
  std::sort(found.begin(), found.end());
  std::string line;
  for (const auto& name : found) line += " " + name;
  say("names in %s:%s", path, line.c_str());
}

void spit(const char* path, const char* text, mode_t mode) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) {
    did(path, -1);
    return;
  }
  if (write(fd, text, strlen(text)) != static_cast<ssize_t>(strlen(text))) did("write", -1);
  close(fd);
}

void as_user(uid_t uid, gid_t gid, const std::function<void()>& body, std::vector<gid_t> groups) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    if (setgroups(groups.size(), groups.data()) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(uid, uid, uid) < 0) {
      say("cannot become %u", uid);
      _exit(1);
    }
    body();
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) say("user %u ended with status %d", uid, status);
}

Times times_of(const char* path) {
  struct stat st = {};
  lstat(path, &st);
  return {st.st_atim, st.st_mtim, st.st_ctim};
}

static int order(const timespec& a, const timespec& b) {
  if (a.tv_sec != b.tv_sec) return a.tv_sec < b.tv_sec ? -1 : 1;
  return a.tv_nsec == b.tv_nsec ? 0 : a.tv_nsec < b.tv_nsec ? -1 : 1;
}

void moved(const char* what, const char* path, const Times& before) {
  const Times now = times_of(path);
  const char* words[] = {"back", "same", "forward"};
  say("%s: mtime %s, ctime %s", what, words[1 + order(now.modify, before.modify)],
      words[1 + order(now.change, before.change)]);
}

int main(int argc, char** argv) {
  if (argc < 2 || chdir(argv[1]) < 0) {
    fprintf(stderr, "usage: posix-table DIRECTORY [PART OF A NAME [PART OF NAMES TO LEAVE OUT]]\n");
    return 2;
  }
  const std::string part = argc > 2 ? argv[2] : "";
  const std::string without = argc > 3 ? argv[3] : "";
  umask(022);
  int number = 0;
  for (const Case& c : cases()) {
    number += 1;
    const std::string name = c.name;
    if (name.find(part) == std::string::npos) continue;
    if (!without.empty() && name.find(without) != std::string::npos) continue;
    const std::string room = "case-" + std::to_string(number);
    printf("=== %s\n", c.name);
    fflush(stdout);
    if (mkdir(room.c_str(), 0755) < 0) {
      did("mkdir room", -1);
      continue;
    }
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      alarm(300);
      if (chdir(room.c_str()) < 0) _exit(1);
      c.body();
      fflush(stdout);
      _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) say("ended with status %d", status);
  }
  return 0;
}
