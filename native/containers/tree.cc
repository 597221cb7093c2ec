#include "containers/tree.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "common/id_map.h"
#include "containers/refusal.h"

namespace insitu {
namespace {

void write_ids(pid_t pid, const char* name, const std::string& text) {
  const auto map = IdMap::parse(text);
  if (!map) refuse("these are no ids: " + text);
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string lines = map->lines();
  if (!fd || write(fd.get(), lines.data(), lines.size()) != static_cast<ssize_t>(lines.size()))
    fail("give ids to a user namespace");
}

// A user namespace of those ids, which lives by its descriptor: the process that it is made of does nothing.
UniqueFd user_namespace(const TreeOptions& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const auto child = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  if (child < 0) fail("make a user namespace");
  if (child == 0) {
    close(ends[1]);
    char none;
    while (read(ends[0], &none, 1) < 0 && errno == EINTR) continue;
    _exit(0);
  }
  std::optional<Refusal> refusal;
  UniqueFd made;
  try {
    write_ids(child, "uid_map", options.user_ids);
    write_ids(child, "gid_map", options.group_ids);
    const std::string path = "/proc/" + std::to_string(child) + "/ns/user";
    made.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!made) fail("open the user namespace");
  } catch (const Refusal& why) {
    refusal = why;
  }
  writer.reset();
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  if (refusal) throw *refusal;
  return made;
}

}  // namespace

UniqueFd clone_tree(int root, const TreeOptions& options) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH | RESOLVE_NO_XDEV;
  const UniqueFd origin(
      static_cast<int>(syscall(SYS_openat2, root, options.name.c_str(), &how, sizeof how)));
  if (!origin) fail("find the tree");
  UniqueFd tree(static_cast<int>(syscall(SYS_open_tree, origin.get(), "",
                                         AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) fail("clone the tree, which needs Linux 6.15 or newer");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (options.read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  // What is done to it over there stays there.
  attributes.propagation = MS_PRIVATE;
  UniqueFd ids;
  if (!options.user_ids.empty()) {
    ids = user_namespace(options);
    attributes.attr_set |= MOUNT_ATTR_IDMAP;
    attributes.userns_fd = static_cast<uint64_t>(ids.get());
  }
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    fail("set the mount's flags");
  return tree;
}

}  // namespace insitu
