// What root of a container may try against a read-only volume at argv[1], which holds `file`, with an empty
// directory of its own at argv[2]. One line an attempt: its name, and `done` or the errno.
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace {

std::string volume, spare;

void tell(const char* what, long result) {
  printf("%s %s\n", what, result >= 0 ? "done" : strerrorname_np(errno));
  fflush(stdout);
}

long write_into(int directory, const char* path) {
  const int fd = openat(directory, path, O_WRONLY);
  if (fd < 0) return fd;
  const long written = write(fd, "taken", 5);
  close(fd);
  return written;
}

// Takes every flag off that it may.
long lift(int fd, const char* path) {
  mount_attr attributes{};
  attributes.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  return syscall(SYS_mount_setattr, fd, path, AT_EMPTY_PATH, &attributes, sizeof attributes);
}

void remount() {
  tell("remount", mount("none", volume.c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr));
  tell("remount-write", write_into(AT_FDCWD, (volume + "/file").c_str()));
}

void bind() {
  tell("bind", mount(volume.c_str(), spare.c_str(), nullptr, MS_BIND, nullptr));
  tell("bind-lift", lift(AT_FDCWD, spare.c_str()));
  tell("bind-write", write_into(AT_FDCWD, (spare + "/file").c_str()));
  tell("bind-mkdir", mkdir((spare + "/made").c_str(), 0777));
  tell("bind-unlink", unlink((spare + "/file").c_str()));
  tell("bind-chown", chown((spare + "/file").c_str(), 0, 0));
  tell("bind-device", open((spare + "/device").c_str(), O_RDONLY));
  umount2(spare.c_str(), MNT_DETACH);
}

void clone_tree() {
  const auto tree = static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, volume.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  tell("clone", tree);
  tell("clone-lift", lift(tree, ""));
  tell("clone-write", write_into(tree, "file"));
  tell("clone-move", syscall(SYS_move_mount, tree, "", AT_FDCWD, spare.c_str(),
                             MOVE_MOUNT_F_EMPTY_PATH));
  tell("clone-moved-write", write_into(AT_FDCWD, (spare + "/file").c_str()));
  umount2(spare.c_str(), MNT_DETACH);
}

// The filesystem itself is the daemon's.
void reconfigure() {
  const auto context = static_cast<int>(
      syscall(SYS_fspick, AT_FDCWD, volume.c_str(), FSPICK_CLOEXEC));
  tell("fspick", context);
  tell("reconfigure", syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, nullptr, nullptr, 0));
  tell("remount-filesystem", mount("none", volume.c_str(), nullptr, MS_REMOUNT, nullptr));
}

// Above its root there is only where it is mounted.
void above() {
  const int root = open(volume.c_str(), O_RDONLY | O_DIRECTORY);
  struct stat one, other;
  const int up = openat(root, "..", O_RDONLY | O_DIRECTORY);
  const std::string parent = volume.substr(0, volume.rfind('/'));
  const bool outside = fstat(up, &one) == 0 && stat(parent.c_str(), &other) == 0 &&
                       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
  printf("above %s\n", outside ? "outside" : "inside");
  struct {
    file_handle head;
    unsigned char bytes[128];
  } handle{};
  handle.head.handle_bytes = sizeof handle.bytes;
  int mount_number = 0;
  tell("handle", name_to_handle_at(root, "", &handle.head, &mount_number, AT_EMPTY_PATH));
  close(up);
  close(root);
}

// Once more in namespaces of its own, with all capabilities there.
void nested() {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    tell("nested", unshare(CLONE_NEWUSER | CLONE_NEWNS));
    tell("nested-remount", mount("none", volume.c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr));
    tell("nested-write", write_into(AT_FDCWD, (volume + "/file").c_str()));
    _exit(0);
  }
  waitpid(child, nullptr, 0);
}

// What is under it is what was there before: an empty directory of the container's.
void beneath() {
  tell("unmount", umount2(volume.c_str(), 0));
  tell("beneath-file", access((volume + "/file").c_str(), F_OK));
  tell("beneath-write", mkdir((volume + "/mine").c_str(), 0755));
  rmdir((volume + "/mine").c_str());
}

}  // namespace

int main(int, char** arguments) {
  volume = arguments[1];
  spare = arguments[2];
  tell("write", write_into(AT_FDCWD, (volume + "/file").c_str()));
  nested();
  bind();
  clone_tree();
  reconfigure();
  above();
  remount();
  beneath();
}
