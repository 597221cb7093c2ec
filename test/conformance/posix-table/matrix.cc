// Every call on every kind of path, as several users: what it gives and what is left.
#include "table.h"

#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <utime.h>

#include <filesystem>

namespace {

constexpr uid_t kAnn = 3001, kBob = 3002;
constexpr gid_t kTeam = 3100;

struct User {
  const char* name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
const std::vector<User>& users() {
  static const std::vector<User> all{
      {"root", 0, 0, {}}, {"ann", kAnn, kAnn, {kTeam}}, {"bob", kBob, kBob, {}}};
  return all;
}

// Becomes a user for one call; the process stays root behind it.
class As {
 public:
  explicit As(const User& user) {
    setgroups(user.groups.size(), user.groups.data());
    setresgid(user.gid, user.gid, 0);
    setresuid(user.uid, user.uid, 0);
  }
  ~As() {
    const int error = errno;
    setresuid(0, 0, 0);
    setresgid(0, 0, 0);
    setgroups(0, nullptr);
    errno = error;
  }
};

void owned(const char* path, uid_t uid, gid_t gid, mode_t mode) {
  chown(path, uid, gid);
  chmod(path, mode);
}
std::string file_of(const char* path, uid_t uid, mode_t mode) {
  spit(path, "0123456789");
  owned(path, uid, uid, mode);
  return path;
}
std::string directory_of(const char* path, uid_t uid, mode_t mode) {
  mkdir(path, 0755);
  owned(path, uid, uid, mode);
  return path;
}
std::string repeated(const char* piece, size_t length) {
  std::string text;
  while (text.size() + strlen(piece) <= length) text += piece;
  return text;
}

struct Kind {
  const char* name;
  // Makes what is needed in the working directory, which all may write; gives the path.
  std::string (*make)();
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"missing", [] { return std::string("none"); }},
      {"missing parent", [] { return std::string("none/x"); }},
      {"missing with slash", [] { return std::string("none/"); }},
      {"empty path", [] { return std::string(); }},
      {"root's file", [] { return file_of("f", 0, 0644); }},
      {"root's shut file", [] { return file_of("f", 0, 0600); }},
      {"ann's file", [] { return file_of("f", kAnn, 0644); }},
      {"ann's setid file", [] { return file_of("f", kAnn, 06755); }},
      {"ann's file for all", [] { return file_of("f", kAnn, 0666); }},
      {"the team's file", [] {
         file_of("f", 0, 0664);
         chown("f", 0, kTeam);
         return std::string("f");
       }},
      {"file with slash", [] { return file_of("f", 0, 0644) + "/"; }},
      {"below a file", [] { return file_of("f", 0, 0644) + "/x"; }},
      {"directory", [] { return directory_of("d", 0, 0755); }},
      {"directory with slash", [] { return directory_of("d", kAnn, 0755) + "/"; }},
      {"directory and dot", [] { return directory_of("d", kAnn, 0755) + "/."; }},
      {"directory and dots", [] { return directory_of("d", kAnn, 0755) + "/.."; }},
      {"full directory", [] {
         directory_of("d", kAnn, 0777);
         spit("d/x", "");
         return std::string("d");
       }},
      {"in a shut directory", [] {
         directory_of("d", 0, 0700);
         spit("d/x", "x");
         return std::string("d/x");
       }},
      {"missing in a shut directory", [] { return directory_of("d", 0, 0700) + "/x"; }},
      {"in a directory to read only", [] {
         directory_of("d", 0, 0755);
         file_of("d/x", kAnn, 0666);
         return std::string("d/x");
       }},
      {"missing in a directory to read only", [] { return directory_of("d", 0, 0755) + "/x"; }},
      {"ann's in a sticky directory", [] {
         directory_of("d", 0, 01777);
         file_of("d/x", kAnn, 0666);
         return std::string("d/x");
       }},
      {"root's in ann's sticky directory", [] {
         directory_of("d", kAnn, 01777);
         file_of("d/x", 0, 0666);
         return std::string("d/x");
       }},
      {"in a directory without x", [] {
         directory_of("d", kBob, 0666);
         file_of("d/x", kAnn, 0666);
         return std::string("d/x");
       }},
      {"missing in a setgid directory", [] {
         mkdir("d", 0755);
         owned("d", 0, kTeam, 02777);
         return std::string("d/x");
       }},
      {"link to file", [] {
         file_of("f", kAnn, 0644);
         symlink("f", "s");
         return std::string("s");
       }},
      {"link to file with slash", [] {
         file_of("f", kAnn, 0644);
         symlink("f", "s");
         return std::string("s/");
       }},
      {"link to directory", [] {
         directory_of("d", kAnn, 0755);
         symlink("d", "s");
         return std::string("s");
       }},
      {"link to directory with slash", [] {
         directory_of("d", kAnn, 0755);
         symlink("d", "s");
         return std::string("s/");
       }},
      {"dangling link", [] {
         symlink("none", "s");
         return std::string("s");
       }},
      {"link to itself", [] {
         symlink("s", "s");
         return std::string("s");
       }},
      {"below a link to itself", [] {
         symlink("s", "s");
         return std::string("s/x");
       }},
      {"a long chain of links", [] {
         file_of("l0", kAnn, 0644);
         for (int i = 1; i <= 41; i += 1)
           symlink(("l" + std::to_string(i - 1)).c_str(), ("l" + std::to_string(i)).c_str());
         return std::string("l41");
       }},
      {"fifo", [] {
         mkfifo("p", 0666);
         owned("p", kAnn, kAnn, 0666);
         return std::string("p");
       }},
      {"socket", [] {
         mknod("k", S_IFSOCK | 0666, 0);
         owned("k", kAnn, kAnn, 0666);
         return std::string("k");
       }},
      {"name of 255", [] { return std::string(NAME_MAX, 'n'); }},
      {"name of 256", [] { return std::string(NAME_MAX + 1, 'n'); }},
      {"name of 256 below", [] { return directory_of("d", 0, 0777) + "/" + std::string(256, 'n'); }},
      {"file with a name of 255", [] { return file_of(std::string(NAME_MAX, 'n').c_str(), kAnn, 0644); }},
      {"path of 4095", [] { return repeated("./", PATH_MAX - 4) + "new"; }},
      {"path of 4096", [] { return repeated("./", PATH_MAX - 2) + "ne"; }},
      {"dot", [] { return std::string("."); }},
      {"dots", [] { return std::string(".."); }},
      {"two links", [] {
         file_of("f", kAnn, 0644);
         link("f", "g");
         return std::string("g");
       }},
  };
  return all;
}

struct Call {
  const char* name;
  long (*run)(const char* path);
};

long opened_as(const char* path, int flags) {
  const int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0640);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}
long closed(DIR* dir) {
  if (dir == nullptr) return -1;
  closedir(dir);
  return 0;
}

// The target of two-path calls.
constexpr const char* kOther = "other";

const std::vector<Call>& calls() {
  static const std::vector<Call> all{
      {"open to read", [](const char* p) { return opened_as(p, O_RDONLY); }},
      {"open to write", [](const char* p) { return opened_as(p, O_WRONLY); }},
      {"open to create", [](const char* p) { return opened_as(p, O_WRONLY | O_CREAT); }},
      {"open exclusively", [](const char* p) { return opened_as(p, O_RDWR | O_CREAT | O_EXCL); }},
      {"open to truncate", [](const char* p) { return opened_as(p, O_RDWR | O_TRUNC); }},
      {"open a directory", [](const char* p) { return opened_as(p, O_RDONLY | O_DIRECTORY); }},
      {"open no link", [](const char* p) { return opened_as(p, O_RDONLY | O_NOFOLLOW); }},
      {"open O_PATH", [](const char* p) { return opened_as(p, O_PATH); }},
      {"open O_NOATIME", [](const char* p) { return opened_as(p, O_RDONLY | O_NOATIME); }},
      {"open O_TMPFILE", [](const char* p) { return opened_as(p, O_TMPFILE | O_RDWR); }},
      {"opendir", [](const char* p) { return closed(opendir(p)); }},
      {"mkdir", [](const char* p) { return long(mkdir(p, 0750)); }},
      {"rmdir", [](const char* p) { return long(rmdir(p)); }},
      {"unlink", [](const char* p) { return long(unlink(p)); }},
      {"mkfifo", [](const char* p) { return long(mkfifo(p, 0640)); }},
      {"mknod file", [](const char* p) { return long(mknod(p, S_IFREG | 0640, 0)); }},
      {"mknod device", [](const char* p) { return long(mknod(p, S_IFCHR | 0640, 0x103)); }},
      {"symlink", [](const char* p) { return long(symlink("target", p)); }},
      {"readlink", [](const char* p) { char b[PATH_MAX]; return long(readlink(p, b, sizeof b)); }},
      {"rename from", [](const char* p) { return long(rename(p, kOther)); }},
      {"rename to, a file", [](const char* p) { spit(kOther, "o"); return long(rename(kOther, p)); }},
      {"rename to, a directory", [](const char* p) { mkdir(kOther, 0755); return long(rename(kOther, p)); }},
      {"link from", [](const char* p) { return long(link(p, kOther)); }},
      {"link to", [](const char* p) { spit(kOther, "o"); return long(link(kOther, p)); }},
      {"chmod", [](const char* p) { return long(chmod(p, 06751)); }},
      {"chmod sticky", [](const char* p) { return long(chmod(p, 01770)); }},
      {"chown to oneself", [](const char* p) { return long(chown(p, geteuid(), static_cast<gid_t>(-1))); }},
      {"chown away", [](const char* p) { return long(chown(p, kBob, kBob)); }},
      {"chgrp to the team", [](const char* p) { return long(chown(p, static_cast<uid_t>(-1), kTeam)); }},
      {"lchown", [](const char* p) { return long(lchown(p, kAnn, kTeam)); }},
      {"truncate", [](const char* p) { return long(truncate(p, 3)); }},
      {"truncate to less than nothing", [](const char* p) { return long(truncate(p, -1)); }},
      {"utimes now", [](const char* p) { return long(utimensat(AT_FDCWD, p, nullptr, 0)); }},
      {"utimes exact", [](const char* p) {
         const timespec times[] = {{1000, 1}, {2000, 2}};
         return long(utimensat(AT_FDCWD, p, times, AT_SYMLINK_NOFOLLOW));
       }},
      {"access r", [](const char* p) { return long(eaccess(p, R_OK)); }},
      {"access w", [](const char* p) { return long(eaccess(p, W_OK)); }},
      {"access x", [](const char* p) { return long(eaccess(p, X_OK)); }},
      {"stat", [](const char* p) { struct stat st; return long(stat(p, &st)); }},
      {"lstat", [](const char* p) { struct stat st; return long(lstat(p, &st)); }},
      {"statfs", [](const char* p) { struct statfs st; return long(statfs(p, &st)); }},
      {"setxattr", [](const char* p) { return long(setxattr(p, "user.x", "v", 1, 0)); }},
      {"lsetxattr trusted", [](const char* p) { return long(lsetxattr(p, "trusted.x", "v", 1, 0)); }},
      {"getxattr", [](const char* p) { return long(getxattr(p, "user.x", nullptr, 0)); }},
      {"listxattr", [](const char* p) { return long(llistxattr(p, nullptr, 0)); }},
      {"removexattr", [](const char* p) { return long(removexattr(p, "user.x")); }},
      {"chdir", [](const char* p) { const int here = open(".", O_PATH); const int r = chdir(p); const int e = errno; fchdir(here); close(here); errno = e; return long(r); }},
  };
  return all;
}

void clear_room() {
  for (const auto& entry : std::filesystem::directory_iterator("."))
    std::filesystem::remove_all(entry.path());
}

// One line a cell, and what is left of what was there.
void cell(const char* title, const std::function<long()>& call) {
  const long result = call();
  const int error = errno;
  std::string left;
  for (const auto& entry : std::filesystem::directory_iterator(".")) {
    struct stat st = {};
    if (lstat(entry.path().c_str(), &st) < 0) continue;
    const std::string name = entry.path().filename();
    // A chain of links is as it was.
    if (name[0] == 'l') continue;
    char line[128];
    snprintf(line, sizeof line, " %.8s %o %u:%u %lu", name.c_str(), st.st_mode, st.st_uid, st.st_gid,
             static_cast<unsigned long>(st.st_nlink));
    left = left < line ? left + line : line + left;
  }
  say("%s: %s |%s", title, result < 0 ? strerrorname_np(error) : "ok", left.c_str());
}

void matrix(const Call& call) {
  for (const User& user : users())
    for (const Kind& kind : kinds()) {
      mkdir("room", 0777);
      owned("room", 0, 0, 0777);
      chdir("room");
      const std::string path = kind.make();
      cell((std::string(user.name) + ", " + kind.name).c_str(), [&] {
        const As as(user);
        return call.run(path.c_str());
      });
      clear_room();
      chdir("..");
    }
}

struct Matrices {
  Matrices() {
    static std::vector<std::string> titles;
    titles.reserve(calls().size());
    for (const Call& call : calls()) {
      titles.push_back(std::string("matrix: ") + call.name);
      cases().push_back({titles.back().c_str(), [&call] { matrix(call); }});
    }
  }
} matrices;

}  // namespace

CASE("matrix: bad addresses") {
  const auto bad = reinterpret_cast<const char*>(-1);
  for (const Call& call : calls()) {
    if (strstr(call.name, "rename to") || strstr(call.name, "link to")) continue;
    did(call.name, call.run(bad));
  }
  spit("f", "0123456789");
  const int fd = open("f", O_RDWR);
  did("read", read(fd, reinterpret_cast<void*>(-1), 5));
  did("write", write(fd, bad, 5));
  struct stat* nowhere = nullptr;
  did("fstat", syscall(SYS_fstat, fd, nowhere));
  content("f");
}
CASE("matrix: rename, every kind onto every kind, with flags") {
  static const std::vector<std::pair<const char*, std::function<void(const char*)>>> makers{
      {"nothing", [](const char*) {}},
      {"file", [](const char* p) { spit(p, p); }},
      {"directory", [](const char* p) { mkdir(p, 0755); }},
      {"full directory", [](const char* p) { mkdir(p, 0755); spit((std::string(p) + "/x").c_str(), ""); }},
      {"link", [](const char* p) { symlink("nowhere", p); }},
      {"fifo", [](const char* p) { mkfifo(p, 0600); }},
  };
  for (const User& user : users())
    for (const unsigned flags : {0u, 1u, 2u, 3u, 8u})
      for (const mode_t mode : {0777u, 01777u})
        for (const auto& [from, make_from] : makers)
          for (const auto& [to, make_to] : makers) {
            for (const char* room : {"r1", "r2"}) {
              mkdir(room, 0777);
              owned(room, 0, 0, mode);
            }
            make_from("r1/a");
            make_to("r2/b");
            lchown("r1/a", kAnn, kAnn);
            long result;
            {
              const As as(user);
              result = syscall(SYS_renameat2, AT_FDCWD, "r1/a", AT_FDCWD, "r2/b", flags);
            }
            struct stat a = {}, b = {};
            const int error = errno;
            const bool is_a = lstat("r1/a", &a) == 0, is_b = lstat("r2/b", &b) == 0;
            say("%s %u %o %s to %s: %s %o %o", user.name, flags, mode, from, to,
                result < 0 ? strerrorname_np(error) : "ok", is_a ? a.st_mode : 0,
                is_b ? b.st_mode : 0);
            std::filesystem::remove_all("r1");
            std::filesystem::remove_all("r2");
          }
}
CASE("matrix: open, all flags on all objects") {
  for (const User& user : users())
    for (const int access : {O_RDONLY, O_WRONLY, O_RDWR})
      for (int bits = 0; bits < 64; bits += 1) {
        const int flags = access | O_NONBLOCK | O_CLOEXEC | (bits & 1 ? O_CREAT : 0) |
                          (bits & 2 ? O_EXCL : 0) | (bits & 4 ? O_TRUNC : 0) |
                          (bits & 8 ? O_APPEND : 0) | (bits & 16 ? O_DIRECTORY : 0) |
                          (bits & 32 ? O_NOFOLLOW : 0);
        mkdir("room", 0777);
        chmod("room", 0777);
        chdir("room");
        file_of("f", kAnn, 0644);
        directory_of("d", kAnn, 0755);
        symlink("f", "s");
        symlink("new", "t");
        std::string line;
        for (const char* path : {"f", "d", "s", "t", "none"}) {
          long result;
          {
            const As as(user);
            result = opened_as(path, flags);
          }
          struct stat st = {};
          lstat(path, &st);
          line += std::string(" ") + (result < 0 ? strerrorname_np(errno) : "ok") + "/" +
                  std::to_string(S_ISREG(st.st_mode) ? st.st_size : -1);
        }
        say("%s %d %02o:%s", user.name, access, bits, line.c_str());
        clear_room();
        chdir("..");
      }
}
CASE("matrix: chown and chmod of files with special bits") {
  static constexpr uid_t kIds[] = {0, kAnn, kBob, static_cast<uid_t>(-1)};
  static constexpr gid_t kGids[] = {0, kAnn, kTeam, static_cast<gid_t>(-1)};
  for (const User& user : users())
    for (const mode_t mode : {0644u, 04755u, 02755u, 06711u, 01644u})
      for (const bool directory : {false, true}) {
        std::string line;
        const auto fresh = [&] {
          std::filesystem::remove_all("x");
          if (directory)
            mkdir("x", 0755);
          else
            spit("x", "x");
          owned("x", kAnn, kAnn, mode);
        };
        const auto note = [&](long result) {
          const int error = errno;
          struct stat st = {};
          lstat("x", &st);
          char text[64];
          snprintf(text, sizeof text, " %s %o %u %u;", result < 0 ? strerrorname_np(error) : "ok",
                   st.st_mode & 07777, st.st_uid, st.st_gid);
          line += text;
        };
        for (const uid_t uid : kIds)
          for (const gid_t gid : kGids) {
            // Not told from the start of a write (docs/files.md).
            if (user.uid == kBob && uid == static_cast<uid_t>(-1) && gid == static_cast<gid_t>(-1)) continue;
            fresh();
            const auto as = std::make_unique<As>(user);
            note(chown("x", uid, gid));
          }
        for (const mode_t to : {0600u, 04711u, 02711u, 01777u, 07777u}) {
          fresh();
          chown("x", kAnn, kTeam);
          const auto as = std::make_unique<As>(user);
          note(chmod("x", to));
        }
        say("%s %o %d:%s", user.name, mode, directory, line.c_str());
      }
}
