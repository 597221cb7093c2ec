// Puts a tree into the mount namespace of a running process, or takes it out again. One purpose, one
// process each: what is done in a foreign namespace ends with it, and a tree that does not answer
// hangs nobody else.
//
//   mount_attach attach PID START TARGET ro|rw NAME 3<ROOT
//   mount_attach detach PID START TARGET MOUNT
//
// PID is of the caller's namespace and began START ticks after the boot: another that has its number
// by now is refused. ROOT is a mount that is attached nowhere, and NAME the directory of it that is
// shown. TARGET is in that process's mount namespace and below its root, absolute and walked without
// following a link. The last component of TARGET is made if it is not there; an entry that is there is
// an empty directory. A mount at it whose server died is taken away first. MOUNT is what attach says
// once a walk of TARGET over there ends in the new mount, or 0: only such a dead one.
//
// Exits with 0, with 3 when there is no such process any more, else with 1; why stands in one line.
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
#include <sys/vfs.h>
#include <unistd.h>

#include <string>

#include "common/unique_fd.h"
#include "containers/process.h"
#include "containers/statmount.h"

namespace {

using insitu::UniqueFd;

// A file server that does not answer would keep us for ever.
constexpr unsigned kDeadlineSeconds = 10;
constexpr uint64_t kWalk = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr int kRoot = 3;
constexpr long kFuseMagic = 0x65735546;
constexpr int kGone = 3;

[[noreturn]] void end(int status, const std::string& why) {
  fprintf(stderr, "%s\n", why.c_str());
  exit(status);
}

[[noreturn]] void refuse(const std::string& why) { end(1, why); }

[[noreturn]] void fail(const std::string& what, int error = errno) {
  refuse(what + ": " + strerror(error));
}

UniqueFd walk(int from, const char* path, uint64_t flags, uint64_t resolve = kWalk) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, from, path, &how, sizeof how)));
}

// Never given to another mount.
uint64_t mount_id(int fd) {
  struct statx out{};
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, insitu::kStatxMountIdUnique, &out) != 0)
    fail("look at a mount");
  if (!(out.stx_mask & insitu::kStatxMountIdUnique)) refuse("Linux 6.15 or newer is needed");
  return out.stx_mnt_id;
}

uint64_t number(const char* text) {
  char* rest = nullptr;
  errno = 0;
  const uint64_t value = strtoull(text, &rest, 10);
  if (*text < '0' || *text > '9' || *rest != '\0' || errno != 0)
    refuse(std::string("no number: ") + text);
  return value;
}

// /proc/self/fd of where we come from: what is in a container may have none, or a false one.
UniqueFd own_descriptors;

// Goes to where the process is: its namespace and its root. Held by descriptors that were taken while
// it certainly lived, so that a number that is given to another process meanwhile means nothing.
void enter(const char* pid_text, const char* start_text) {
  own_descriptors.reset(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own_descriptors) fail("open /proc/self/fd");
  const auto pid = static_cast<pid_t>(number(pid_text));
  const UniqueFd process = insitu::open_process(pid, number(start_text));
  if (!process) end(kGone, std::string("process ") + pid_text + " has ended");
  const std::string path = std::string("/proc/") + pid_text + "/root";
  const UniqueFd root(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!insitu::is_alive(process.get())) end(kGone, std::string("process ") + pid_text + " has ended");
  if (!root) fail("find its root");
  // Another's mount namespace cannot be entered while the working directory is shared.
  if (unshare(CLONE_FS) != 0) fail("leave the shared working directory");
  if (setns(process.get(), CLONE_NEWNS) != 0) fail("enter the mount namespace");
  if (fchdir(root.get()) != 0 || chroot(".") != 0) fail("go to its root");
}

struct Target {
  UniqueFd parent;
  std::string name;

  UniqueFd open() const {
    return walk(parent.get(), name.c_str(), O_PATH | O_DIRECTORY, kWalk | RESOLVE_BENEATH);
  }
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

// By the mount's own root, whatever was renamed or mounted where it stands, and without a word to its
// server. What somebody stacked on it goes before it.
void take_away(int root) {
  if (fchdir(own_descriptors.get()) != 0) fail("go to the descriptors");
  const std::string link = std::to_string(root);
  for (int tries = 0; tries < 16; ++tries) {
    if (umount2(link.c_str(), MNT_DETACH) == 0) continue;
    if (errno == EINVAL) return;  // it is in no namespace any more
    fail("unmount the target");
  }
  refuse("somebody goes on mounting at the target");
}

// A FUSE mount whose server is gone.
bool is_dead(int fd) {
  struct statx out{};
  return statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_MODE, &out) != 0 &&
         errno == ENOTCONN;
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

UniqueFd clone(const char* name, bool read_only) {
  const UniqueFd origin =
      walk(kRoot, name, O_PATH | O_DIRECTORY, kWalk | RESOLVE_BENEATH | RESOLVE_NO_XDEV);
  if (!origin) fail("find the tree");
  UniqueFd tree(static_cast<int>(syscall(SYS_open_tree, origin.get(), "",
                                         AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) fail("clone the tree, which needs Linux 6.15 or newer");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  // What is done to it over there stays there.
  attributes.propagation = MS_PRIVATE;
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    fail("set the mount's flags");
  return tree;
}

// Free to be mounted on, and in nobody else's sight.
UniqueFd prepare(const Target& place) {
  if (mkdirat(place.parent.get(), place.name.c_str(), 0755) != 0 && errno != EEXIST)
    fail("make the target");
  UniqueFd point = place.open();
  if (!point) fail("open the target");
  if (mount_id(point.get()) != mount_id(place.parent.get())) {
    if (is_dead(point.get())) {
      take_away(point.get());
      return prepare(place);
    }
    struct statfs out{};
    if (fstatfs(point.get(), &out) == 0 && out.f_type == kFuseMagic)
      refuse("a volume is mounted at the target already");
  }
  if (insitu::is_shared(mount_id(point.get())))
    refuse("the target lies in a mount that is shared with other namespaces: they would see it too");
  if (!is_empty(point.get())) refuse("the target is not empty: its files would be covered");
  return point;
}

void attach(const char* target, const UniqueFd& tree) {
  const Target place = find(target);
  const UniqueFd point = prepare(place);
  if (syscall(SYS_move_mount, tree.get(), "", point.get(), "",
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    fail("move the mount in");
  // As a process over there sees it, from the root on.
  const UniqueFd seen = walk(AT_FDCWD, target, O_PATH | O_DIRECTORY);
  const uint64_t id = mount_id(tree.get());
  if (!seen || mount_id(seen.get()) != id) {
    take_away(tree.get());
    refuse("something else came to the target meanwhile");
  }
  printf("%llu\n", static_cast<unsigned long long>(id));
}

void detach(const char* target, uint64_t id) {
  const Target place = find(target);
  const UniqueFd point = place.open();
  if (!point) fail("open the target");
  if (id == 0 ? !is_dead(point.get()) : mount_id(point.get()) != id)
    refuse("the mount is not there any more");
  take_away(point.get());
}

}  // namespace

int main(int count, char** words) {
  alarm(kDeadlineSeconds);
  const std::string what = count > 1 ? words[1] : "";
  if (what == "attach" && count == 7) {
    const std::string mode = words[5];
    if (mode != "ro" && mode != "rw") refuse("the mode is ro or rw");
    const UniqueFd tree = clone(words[6], mode == "ro");
    enter(words[2], words[3]);
    attach(words[4], tree);
  } else if (what == "detach" && count == 6) {
    enter(words[2], words[3]);
    detach(words[4], number(words[5]));
  } else {
    refuse(
        "usage: mount_attach attach PID START TARGET ro|rw NAME 3<ROOT | "
        "detach PID START TARGET MOUNT");
  }
  return 0;
}
