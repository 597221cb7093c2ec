#include "mount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <vector>

extern char** environ;

namespace insitu {

namespace {

std::system_error failure(int error, const std::string& what) {
  return {error, std::generic_category(), what};
}

// fusermount3 keeps its own rule of which mount points a user may have.
int run_fusermount(const std::vector<std::string>& arguments, int socket) {
  std::vector<char*> argv;
  std::string program = "fusermount3";
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (auto& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);

  std::vector<char*> environment;
  std::string channel;
  for (char** entry = environ; *entry; ++entry)
    if (std::strncmp(*entry, "_FUSE_COMMFD=", 13) != 0) environment.push_back(*entry);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (socket >= 0) {
    // Onto itself would leave O_CLOEXEC set; 3 is free in the child.
    posix_spawn_file_actions_adddup2(&actions, socket, 3);
    channel = "_FUSE_COMMFD=3";
    environment.push_back(channel.data());
  }
  environment.push_back(nullptr);
  pid_t child;
  const int error =
      posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return error;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    // Reaped elsewhere: the descriptor that did or did not come tells.
    if (errno != EINTR) return 0;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EPERM;
}

UniqueFd receive_descriptor(int socket) {
  char byte;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  const cmsghdr* header = size > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (!header || header->cmsg_type != SCM_RIGHTS) return UniqueFd{};
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd{fd};
}

constexpr std::string_view kMountType = "fuse.insitu";

UniqueFd open_without_links(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
}

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

struct MountEntry {
  std::string id;
  std::string device;
  std::string mount_point;
  std::string type;
};

// Space, tab, newline and backslash stand in the table as octal numbers.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 3 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(at + 1, 3), nullptr, 8));
      at += 3;
    } else {
      out += text[at];
    }
  }
  return out;
}

// Fields as in proc_pid_mountinfo(5).
template <class Predicate>
std::optional<MountEntry> find_mount(Predicate wanted) {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    MountEntry entry;
    std::string parent, root, word;
    fields >> entry.id >> parent >> entry.device >> root >> entry.mount_point;
    while (fields >> word && word != "-") continue;
    fields >> entry.type;
    if (entry.type != kMountType || !wanted(entry)) continue;
    entry.mount_point = unescape(entry.mount_point);
    return entry;
  }
  return std::nullopt;
}

// The mount that `fd` is on, if it is one of ours.
std::optional<MountEntry> mount_of(int fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  std::string id;
  for (std::string word; info >> word;)
    if (word == "mnt_id:") info >> id;
  return find_mount([&](const MountEntry& entry) { return entry.id == id; });
}

std::string escape_option(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

UniqueFd mount_by_helper(const MountRequest& request) {
  int sockets[2];
  // The helper's end above 3, so that moving it to 3 is never onto itself.
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
    throw failure(errno, "socketpair");
  const UniqueFd ours(sockets[0]);
  UniqueFd theirs(::fcntl(sockets[1], F_DUPFD_CLOEXEC, 10));
  ::close(sockets[1]);
  std::string options = "nosuid,nodev,default_permissions,subtype=insitu,fsname=" +
                        escape_option(request.source);
  if (request.allow_other) options += ",allow_other";
  const int error = run_fusermount({"-o", options, "--", request.mount_point}, theirs.get());
  theirs.reset();
  if (error == ENOENT)
    throw failure(ENOENT, "fusermount3 is missing: install fuse3, or mount as root");
  UniqueFd device = error == 0 ? receive_descriptor(ours.get()) : UniqueFd{};
  if (!device) throw failure(EPERM, "fusermount3 refused to mount " + request.mount_point);
  return device;
}

}  // namespace

UniqueFd mount_fuse(const MountRequest& request) {
  if (::geteuid() != 0) return mount_by_helper(request);
  UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device) throw failure(errno, "open /dev/fuse");
  std::string options = "fd=" + std::to_string(device.get()) +
                        ",rootmode=40000,user_id=0,group_id=0,default_permissions";
  if (request.allow_other) options += ",allow_other";
  const UniqueFd target = open_without_links(request.mount_point);
  if (!target) throw failure(errno, "open " + request.mount_point);
  if (::mount(request.source.c_str(), proc_path(target.get()).c_str(), kMountType.data(),
              MS_NOSUID | MS_NODEV, options.c_str()) < 0)
    throw failure(errno, "mount " + request.mount_point);
  return device;
}

DetachedMount mount_detached(const MountRequest& request) {
  DetachedMount mount{UniqueFd(::open("/dev/fuse", O_RDWR | O_CLOEXEC)), {}};
  if (!mount.device) throw failure(errno, "open /dev/fuse");
  const UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC)));
  if (!context) throw failure(errno, "fsopen");
  const auto set = [&](unsigned command, const char* key, const char* value) {
    if (::syscall(SYS_fsconfig, context.get(), command, key, value, 0) != 0)
      throw failure(errno, std::string("fsconfig ") + (key ? key : "create"));
  };
  set(FSCONFIG_SET_STRING, "source", request.source.c_str());
  set(FSCONFIG_SET_STRING, "subtype", "insitu");
  set(FSCONFIG_SET_STRING, "fd", std::to_string(mount.device.get()).c_str());
  set(FSCONFIG_SET_STRING, "rootmode", "40000");
  set(FSCONFIG_SET_STRING, "user_id", "0");
  set(FSCONFIG_SET_STRING, "group_id", "0");
  set(FSCONFIG_SET_FLAG, "default_permissions", nullptr);
  if (request.allow_other) set(FSCONFIG_SET_FLAG, "allow_other", nullptr);
  set(FSCONFIG_CMD_CREATE, nullptr, nullptr);
  mount.root.reset(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC,
                                              MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)));
  if (!mount.root) throw failure(errno, "fsmount");
  return mount;
}

std::string device_of(int fd) {
  struct statx out{};
  // What the kernel knows by itself: INIT may not have been answered yet.
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &out) != 0) return {};
  return std::to_string(out.stx_dev_major) + ":" + std::to_string(out.stx_dev_minor);
}

std::string mounted_device(const std::string& mount_point) {
  const UniqueFd root = open_without_links(mount_point);
  const auto entry = root ? mount_of(root.get()) : std::nullopt;
  return entry ? entry->device : std::string{};
}

UniqueFd open_mounted(const std::string& mount_point, const std::string& device) {
  const auto open = [&](const std::string& path) {
    UniqueFd root = open_without_links(path);
    const auto entry = root ? mount_of(root.get()) : std::nullopt;
    if (!entry || (!device.empty() && entry->device != device)) root.reset();
    return root;
  };
  UniqueFd root = open(mount_point);
  if (!root && !device.empty())
    if (const auto entry =
            find_mount([&](const MountEntry& each) { return each.device == device; }))
      root = open(entry->mount_point);
  if (!root) errno = EINVAL;
  return root;
}

int unmount_detached(const std::string& mount_point, const std::string& device) {
  // fusermount3 looks for itself whose mount it is.
  if (::geteuid() != 0) return run_fusermount({"-u", "-z", "-q", "--", mount_point}, -1);
  const UniqueFd root = open_mounted(mount_point, device);
  if (!root) return errno;
  if (::umount2(proc_path(root.get()).c_str(), MNT_DETACH) == 0) return 0;
  const int error = errno;
  if (error != EPERM) return error;
  return run_fusermount({"-u", "-z", "-q", "--", mount_point}, -1);
}

UniqueFd clone_mounted(const std::string& mount_point, const std::string& device) {
  const UniqueFd root = open_mounted(mount_point, device);
  if (!root) return {};
  UniqueFd clone(static_cast<int>(::syscall(SYS_open_tree, root.get(), "",
                                            AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  // What is unmounted where it was must not take this one along.
  mount_attr attributes{};
  attributes.propagation = MS_PRIVATE;
  if (clone && ::syscall(SYS_mount_setattr, clone.get(), "", AT_EMPTY_PATH, &attributes,
                         sizeof attributes) != 0) {
    const int error = errno;
    clone.reset();
    errno = error;
  }
  return clone;
}

int attach_clone(int clone, const std::string& place) {
  const UniqueFd point = open_without_links(place);
  if (!point) return errno;
  return ::syscall(SYS_move_mount, clone, "", point.get(), "",
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0
             ? 0
             : errno;
}

}  // namespace insitu
