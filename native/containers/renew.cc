#include "containers/renew.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <algorithm>

#include "containers/enter.h"
#include "containers/place.h"
#include "containers/refusal.h"
#include "containers/statmount.h"

namespace insitu {
namespace {

uint64_t flags_of(const std::string& options) {
  uint64_t flags = 0;
  for (size_t at = 0; at <= options.size();) {
    const size_t end = std::min(options.find(',', at), options.size());
    const std::string word = options.substr(at, end - at);
    at = end + 1;
    if (word == "ro") flags |= MOUNT_ATTR_RDONLY;
    if (word == "nosuid") flags |= MOUNT_ATTR_NOSUID;
    if (word == "nodev") flags |= MOUNT_ATTR_NODEV;
    if (word == "noexec") flags |= MOUNT_ATTR_NOEXEC;
  }
  return flags;
}

UniqueFd clone(int source, const std::string& root, uint64_t flags) {
  const char* const path = root == "/" ? "." : root.c_str() + 1;
  const UniqueFd origin = walk(source, path, O_PATH, kWalk | RESOLVE_BENEATH | RESOLVE_NO_XDEV);
  if (!origin) return {};
  UniqueFd tree(static_cast<int>(syscall(SYS_open_tree, origin.get(), "",
                                         AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  mount_attr attributes{};
  attributes.attr_set = flags;
  attributes.propagation = MS_PRIVATE;
  if (!tree || syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes,
                       sizeof attributes) != 0)
    return {};
  return tree;
}

bool replace(uint64_t mount, const UniqueFd& tree) {
  std::string path;
  StatMount basics{};
  if (!place_of(mount, path) || !stat_mount(mount, kMountBasics, basics)) return false;
  const UniqueFd point = walk(AT_FDCWD, path.c_str(), O_PATH);
  if (!point || mount_id(point.get()) != mount || !is_dead(point.get())) return false;
  if (!mounts_in(mount).empty() || is_shared(basics.parent)) return false;
  try {
    move_in(tree, point, kMoveMountBeneath);
    take_away(point.get());
  } catch (const Refusal&) {
    return false;
  }
  const UniqueFd seen = walk(AT_FDCWD, path.c_str(), O_PATH);
  return seen && mount_id(seen.get()) == mount_id(tree.get());
}

}  // namespace

std::vector<Replacement> clone_replacements(const char* source,
                                            const std::vector<std::string>& wanted) {
  const UniqueFd living = walk(AT_FDCWD, source, O_PATH | O_DIRECTORY);
  if (!living) fail("open the mount");
  std::vector<Replacement> made;
  for (const std::string& each : wanted) {
    const size_t colon = each.find(":/");
    if (colon == std::string::npos) refuse("no FLAGS:ROOT: " + each);
    std::string root = each.substr(colon + 1);
    UniqueFd tree = clone(living.get(), root, flags_of(each.substr(0, colon)));
    if (tree) made.push_back({std::move(root), std::move(tree)});
  }
  return made;
}

int replace_dead(uint32_t minor, std::vector<Replacement> replacements) {
  int replaced = 0;
  for (const uint64_t mount : mounts_in(kAllMounts)) {
    StatMount device{};
    std::string root;
    if (!stat_mount(mount, kSuperblockBasics, device) || device.device_major != 0 ||
        device.device_minor != minor || !root_of(mount, root))
      continue;
    const auto found = std::ranges::find(replacements, root, &Replacement::root);
    if (found == replacements.end()) continue;
    if (replace(mount, found->tree)) ++replaced;
    replacements.erase(found);
  }
  return replaced;
}

}  // namespace insitu
