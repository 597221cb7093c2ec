// A table of POSIX behaviours, as small programs that write down what they saw. The same table runs
// over a backing directory and over a mount of it, and the two transcripts must be equal: the backing
// filesystem is the oracle, so no expectation is written by hand.
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

struct Case {
  const char* name;
  std::function<void()> body;
};

std::vector<Case>& cases();

struct Register {
  Register(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define CASE(name)                                             \
  static void JOIN(body_, __LINE__)();                         \
  static Register JOIN(register_, __LINE__)(name, &JOIN(body_, __LINE__)); \
  static void JOIN(body_, __LINE__)()

// One line of the transcript.
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
// Result of a system call: its value, or the errno's name.
long did(const char* what, long result);
// Like `did`, but success is just "ok" (descriptors and counts that may differ).
int opened(const char* what, int fd);

// Type, mode, owner, link count, size of a path, without following links.
void look(const char* path);
void look_fd(const char* what, int fd);
// Content of a file, quoted, and a checksum when it is long.
void content(const char* path);
// Sorted names in a directory.
void names(const char* path);
void spit(const char* path, const char* text, mode_t mode = 0644);
std::string slurp_fd(int fd);
// Runs `body` in a child as this user with these groups only.
void as_user(uid_t uid, gid_t gid, const std::function<void()>& body,
             std::vector<gid_t> groups = {});
// Whether a time of `path` lies between two moments or moved; absolute times never enter the transcript.
struct Times {
  struct timespec access, modify, change;
};
Times times_of(const char* path);
// Says which of mtime and ctime moved since `before`.
void moved(const char* what, const char* path, const Times& before);
