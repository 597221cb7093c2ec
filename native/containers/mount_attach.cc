// Puts a tree into the mount namespace of a running process, or takes it out again. One purpose, one
// process each: what is done in a foreign namespace ends with it, and a tree that does not answer
// hangs nobody else.
//
//   mount_attach attach PID START SPACE TARGET ro|rw NAME [UIDS GIDS] 3<ROOT
//   mount_attach detach PID START SPACE TARGET MOUNT
//   mount_attach renew PID START SPACE DEVICE SOURCE FLAGS:ROOT…
//
// PID is of the caller's namespace and began START ticks after the boot, in the mount namespace numbered SPACE:
// another that has its number by now is refused. ROOT is a mount that is attached nowhere, and NAME the directory of it that is
// shown. UIDS and GIDS say which ids of the host its ids are shown as; without them, as they are. TARGET is
// in that process's mount namespace and below its root, absolute and walked without following a link, with
// the rights that root of its container has. The last component of TARGET is made if it is not there; an
// entry that is there is an empty directory. A mount at it whose server died is replaced. MOUNT is
// what attach says once a walk of TARGET over there ends in the new mount, which detach finds wherever it is
// by then; or 0: only a dead one at TARGET. renew replaces bind mounts of the dead connection with the
// device number 0:DEVICE by such of the mount at SOURCE, ROOT by ROOT, and says how many.
//
// Exits with 0, with 3 when there is no such process any more, else with 1; why stands in one line.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>

#include "common/unique_fd.h"
#include "containers/enter.h"
#include "containers/place.h"
#include "containers/refusal.h"
#include "containers/renew.h"
#include "containers/statmount.h"
#include "containers/tree.h"

namespace {

using insitu::fail;
using insitu::is_dead;
using insitu::kMoveMountBeneath;
using insitu::kWalk;
using insitu::mount_id;
using insitu::move_in;
using insitu::refuse;
using insitu::take_away;
using insitu::UniqueFd;
using insitu::walk;

// A file server that does not answer would keep us for ever.
constexpr unsigned kDeadlineSeconds = 10;
constexpr int kRoot = 3;
constexpr long kFuseMagic = 0x65735546;
constexpr int kMostLooks = 200;

struct Target {
  UniqueFd parent;
  std::string name;
  bool made = false;

  UniqueFd open() const {
    return walk(parent.get(), name.c_str(), O_PATH | O_DIRECTORY, kWalk | RESOLVE_BENEATH);
  }
  void make() {
    made = mkdirat(parent.get(), name.c_str(), 0755) == 0;
    if (!made && errno != EEXIST) fail("make the target");
  }
  // Where nothing came to stand nothing is left.
  ~Target() {
    if (made) unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR);
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
  UniqueFd directory = walk(AT_FDCWD, parent.c_str(), O_PATH | O_DIRECTORY);
  if (!directory) fail("find " + parent + " in there");
  return {std::move(directory), std::move(name)};
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

void refuse_shared(uint64_t mount) {
  if (insitu::is_shared(mount))
    refuse("the target lies in a mount that is shared with other namespaces: they would see it too");
}

// Free to be mounted on, and in nobody else's sight.
void put(const UniqueFd& tree, Target& place) {
  place.make();
  const UniqueFd point = place.open();
  if (!point) fail("open the target");
  const uint64_t below = mount_id(place.parent.get());
  if (mount_id(point.get()) != below) {
    if (is_dead(point.get())) {
      // Beneath it first: the empty directory is never seen, nor written into.
      refuse_shared(below);
      move_in(tree, point, kMoveMountBeneath);
      return take_away(point.get());
    }
    struct statfs out{};
    if (fstatfs(point.get(), &out) == 0 && out.f_type == kFuseMagic)
      refuse("a volume is mounted at the target already");
  }
  refuse_shared(mount_id(point.get()));
  if (!is_empty(point.get())) refuse("the target is not empty: its files would be covered");
  move_in(tree, point, 0);
}

void attach(const char* target, const UniqueFd& tree) {
  Target place = find(target);
  put(tree, place);
  // As a process over there sees it, from the root on.
  const UniqueFd seen = walk(AT_FDCWD, target, O_PATH | O_DIRECTORY);
  const uint64_t id = mount_id(tree.get());
  if (!seen || mount_id(seen.get()) != id) {
    take_away(tree.get());
    refuse("something else came to the target meanwhile");
  }
  place.made = false;
  printf("%llu\n", static_cast<unsigned long long>(id));
}

void detach_dead(const char* target) {
  const Target place = find(target);
  const UniqueFd point = place.open();
  if (!point) fail("open the target");
  if (!is_dead(point.get())) refuse("no dead mount is there");
  take_away(point.get());
}

// Whatever was renamed or moved meanwhile. One that somebody unmounted is away, as was asked for.
void detach(uint64_t id) {
  std::string path;
  // Names may change between the two looks.
  for (int tries = 0; tries < kMostLooks; ++tries) {
    if (!insitu::place_of(id, path)) {
      if (errno == ENOENT) return;
      fail("find the mount");
    }
    const UniqueFd point = walk(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY);
    if (point && mount_id(point.get()) == id) return take_away(point.get());
  }
  refuse("something covers the mount");
}

void serve(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  if (what == "attach" && (count == 8 || count == 10)) {
    const std::string mode = words[6];
    if (mode != "ro" && mode != "rw") refuse("the mode is ro or rw");
    const bool mapped = count == 10;
    const UniqueFd tree = insitu::clone_tree(
        kRoot, {words[7], mode == "ro", mapped ? words[8] : "", mapped ? words[9] : ""});
    insitu::enter(words[2], words[3], words[4]);
    attach(words[5], tree);
  } else if (what == "detach" && count == 7) {
    insitu::enter(words[2], words[3], words[4]);
    const uint64_t mount = strtoull(words[6], nullptr, 10);
    if (mount == 0) detach_dead(words[5]);
    else detach(mount);
  } else if (what == "renew" && count >= 7) {
    const auto device = static_cast<uint32_t>(strtoul(words[5], nullptr, 10));
    auto replacements = insitu::clone_replacements(words[6], {words + 7, words + count});
    insitu::enter(words[2], words[3], words[4]);
    printf("%d\n", insitu::replace_dead(device, std::move(replacements)));
  } else {
    refuse(
        "usage: mount_attach attach PID START SPACE TARGET ro|rw NAME [UIDS GIDS] 3<ROOT | "
        "detach PID START SPACE TARGET MOUNT | renew PID START SPACE DEVICE SOURCE FLAGS:ROOT…");
  }
}

}  // namespace

int main(int count, char** words) {
  alarm(kDeadlineSeconds);
  umask(022);
  try {
    serve(count, words);
    return 0;
  } catch (const insitu::Refusal& refusal) {
    fprintf(stderr, "%s\n", refusal.why.c_str());
    return refusal.status;
  }
}
