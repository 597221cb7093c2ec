// Puts a tree into the mount namespace of a running process, or takes it out again. One purpose, one
// process each: what is done in a foreign namespace ends with it, and a tree that does not answer
// hangs nobody else.
//
//   mount_attach attach PID SOURCE TARGET ro|rw
//   mount_attach detach PID TARGET
//
// PID is of the caller's namespace; SOURCE is in the caller's, TARGET in the process's mount
// namespace, both absolute and walked without following a link. The last component of TARGET is made
// if it is not there; an entry that is there is an empty directory. Exits with 0 once a walk of TARGET
// over there ends in the new mount; else says why in one line and exits with 1.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "common/unique_fd.h"

namespace {

using insitu::UniqueFd;

// A file server that does not answer would keep us for ever.
constexpr unsigned kDeadlineSeconds = 10;
constexpr uint64_t kWalk = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

[[noreturn]] void fail(const std::string& what, int error = errno) {
  fprintf(stderr, "%s: %s\n", what.c_str(), strerror(error));
  exit(1);
}

[[noreturn]] void refuse(const std::string& why) {
  fprintf(stderr, "%s\n", why.c_str());
  exit(1);
}

UniqueFd walk(int from, const char* path, uint64_t flags, uint64_t resolve = kWalk) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, from, path, &how, sizeof how)));
}

uint64_t mount_id(int fd) {
  struct statx out{};
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &out) != 0)
    fail("look at a mount");
  return out.stx_mnt_id;
}

// Whose namespace: held by descriptor, so that a number that is given to another process meanwhile
// means nothing.
UniqueFd process(const char* text) {
  char* end = nullptr;
  const long pid = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || pid <= 0) refuse(std::string("no process id: ") + text);
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!fd) fail(std::string("process ") + text);
  return fd;
}

void enter(const UniqueFd& pidfd) {
  // Another's mount namespace cannot be entered while the working directory is shared.
  if (unshare(CLONE_FS) != 0) fail("leave the shared working directory");
  if (setns(pidfd.get(), CLONE_NEWNS) != 0) fail("enter the mount namespace");
}

struct Target {
  UniqueFd parent;
  std::string name;
};

Target find(const char* path) {
  std::string target(path);
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  if (target.empty() || target.front() != '/' || target == "/")
    refuse("the target is an absolute path, and not the root");
  const size_t slash = target.rfind('/');
  std::string name = target.substr(slash + 1);
  if (name == "." || name == "..") refuse("the target ends with a name");
  const std::string parent = slash == 0 ? "/" : target.substr(0, slash);
  Target found{walk(AT_FDCWD, parent.c_str(), O_PATH | O_DIRECTORY), std::move(name)};
  if (!found.parent) fail("find " + parent + " in there");
  return found;
}

bool is_empty(int directory) {
  const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = fd < 0 ? nullptr : fdopendir(fd);
  if (listing == nullptr) fail("list the target");
  int entries = 0;
  while (entries <= 2 && readdir(listing) != nullptr) ++entries;
  closedir(listing);
  return entries <= 2;  // "." and ".."
}

void attach(const char* pid, const char* source, const char* target, bool read_only) {
  const UniqueFd pidfd = process(pid);
  const UniqueFd origin = walk(AT_FDCWD, source, O_PATH | O_DIRECTORY);
  if (!origin) fail(std::string("find ") + source);
  const UniqueFd tree(static_cast<int>(syscall(SYS_open_tree, origin.get(), "",
                                               AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) fail("clone the tree");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  // What is done to it over there stays there.
  attributes.propagation = MS_PRIVATE;
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    fail("set the mount's flags");
  enter(pidfd);
  const Target place = find(target);
  if (mkdirat(place.parent.get(), place.name.c_str(), 0755) != 0 && errno != EEXIST)
    fail("make the target");
  UniqueFd point = walk(place.parent.get(), place.name.c_str(), O_PATH | O_DIRECTORY,
                        kWalk | RESOLVE_BENEATH);
  if (!point) fail("open the target");
  if (!is_empty(point.get())) refuse("the target is not empty: its files would be covered");
  if (syscall(SYS_move_mount, tree.get(), "", point.get(), "",
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    fail("move the mount in");
  point = walk(place.parent.get(), place.name.c_str(), O_PATH | O_DIRECTORY,
               kWalk | RESOLVE_BENEATH);
  if (!point || mount_id(point.get()) != mount_id(tree.get())) {
    umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    refuse("something else was mounted at the target meanwhile");
  }
}

void detach(const char* pid, const char* target) {
  enter(process(pid));
  const Target place = find(target);
  const UniqueFd point = walk(place.parent.get(), place.name.c_str(), O_PATH | O_DIRECTORY,
                              kWalk | RESOLVE_BENEATH);
  if (!point) fail("open the target");
  if (mount_id(point.get()) == mount_id(place.parent.get())) refuse("nothing is mounted there");
  // Beside the name that was looked at: the parent may be moved, but not replaced.
  if (fchdir(place.parent.get()) != 0) fail("go to the target");
  if (umount2(place.name.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) fail("unmount the target");
}

}  // namespace

int main(int count, char** words) {
  alarm(kDeadlineSeconds);
  const std::string what = count > 1 ? words[1] : "";
  if (what == "attach" && count == 6) {
    const std::string mode = words[5];
    if (mode != "ro" && mode != "rw") refuse("the mode is ro or rw");
    attach(words[2], words[3], words[4], mode == "ro");
  } else if (what == "detach" && count == 4) {
    detach(words[2], words[3]);
  } else {
    refuse("usage: mount_attach attach PID SOURCE TARGET ro|rw | detach PID TARGET");
  }
  return 0;
}
