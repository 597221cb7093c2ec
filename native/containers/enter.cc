#include "containers/enter.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "containers/process.h"
#include "containers/refusal.h"

namespace insitu {
namespace {

// /proc/self/fd of where we come from: what is in a container may have none, or a false one.
UniqueFd own_descriptors;

bool is_same(int fd, const char* path) {
  struct stat one, other;
  return fstat(fd, &one) == 0 && stat(path, &other) == 0 && one.st_ino == other.st_ino &&
         one.st_dev == other.st_dev;
}

// The first id that our user namespace has: 0 in those of engines.
uint32_t first_id(const char* name) {
  const UniqueFd fd(openat(own_descriptors.get(), name, O_RDONLY | O_CLOEXEC));
  char text[64] = {};
  if (!fd || read(fd.get(), text, sizeof text - 1) <= 0) refuse("its user namespace has no ids");
  return static_cast<uint32_t>(strtoul(text, nullptr, 10));
}

// What a name leads to over there is then what its root could have gone to itself, and what is made there is
// its root's. Nobody in there may look into this process meanwhile.
void become_root_of(const UniqueFd& user_namespace) {
  if (prctl(PR_SET_DUMPABLE, 0) != 0 || setgroups(0, nullptr) != 0) fail("leave what is the host's");
  if (setns(user_namespace.get(), CLONE_NEWUSER) != 0) fail("enter the user namespace");
  const uint32_t uid = first_id("../uid_map"), gid = first_id("../gid_map");
  if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
    fail("be root of the user namespace");
}

}  // namespace

void enter(const char* pid_text, const char* start_text, const char* mount_namespace) {
  own_descriptors.reset(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own_descriptors) fail("open /proc/self/fd");
  const auto pid = static_cast<pid_t>(strtol(pid_text, nullptr, 10));
  const UniqueFd process = open_process(pid, strtoull(start_text, nullptr, 10));
  const Refusal gone{kGone, std::string("process ") + pid_text + " has ended"};
  if (!process) throw gone;
  const std::string path = std::string("/proc/") + pid_text;
  const UniqueFd directory(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd root(openat(directory.get(), "root", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd mounts(openat(directory.get(), "ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!is_alive(process.get())) throw gone;
  if (!root) fail("find its root");
  if (!mounts) fail("find its mount namespace");
  if (namespace_id(mounts.get()) != strtoull(mount_namespace, nullptr, 10))
    refuse("it went to another mount namespace");
  const UniqueFd owner(ioctl(mounts.get(), NS_GET_USERNS));
  if (!owner) fail("find who owns its mount namespace");
  const bool foreign = !is_same(owner.get(), "/proc/self/ns/user");
  // Another's mount namespace cannot be entered while the working directory is shared.
  if (unshare(CLONE_FS) != 0) fail("leave the shared working directory");
  if (setns(mounts.get(), CLONE_NEWNS) != 0) fail("enter the mount namespace");
  if (foreign) become_root_of(owner);
  if (fchdir(root.get()) != 0 || chroot(".") != 0) fail("go to its root");
}

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

}  // namespace insitu
