#include "mount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
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
  if (::mount(request.source.c_str(), request.mount_point.c_str(), "fuse.insitu",
              MS_NOSUID | MS_NODEV, options.c_str()) < 0)
    throw failure(errno, "mount " + request.mount_point);
  return device;
}

int unmount_detached(const std::string& mount_point) {
  if (::umount2(mount_point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return 0;
  const int error = errno;
  if (error != EPERM) return error;
  return run_fusermount({"-u", "-z", "-q", "--", mount_point}, -1);
}

}  // namespace insitu
