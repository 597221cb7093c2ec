#include "graft_points.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "attributes.h"
#include "open_beneath.h"

namespace insitu {

namespace {

constexpr size_t kMaxDepth = 4'096;

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

bool is_empty(int parent, const std::string& name) {
  UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) fail(errno, name);
  alignas(8) char buffer[512];
  size_t entries = 0;
  for (;;) {
    const long size = ::syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer);
    if (size < 0) fail(errno, name);
    if (size == 0) return entries <= 2;  // . and ..
    for (long at = 0; at < size; ++entries) {
      uint16_t length;
      __builtin_memcpy(&length, buffer + at + 16, sizeof length);
      at += length;
    }
    if (entries > 2) return false;
  }
}

}  // namespace

UniqueFd open_point_directory(int root, const std::string& path) {
  UniqueFd fd;
  const int error = open_beneath(root, path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, fd);
  if (error != 0) fail(error, path);
  return fd;
}

bool make_stub(int parent, const std::string& name) {
  const bool made = ::mkdirat(parent, name.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) fail(errno, "the point of the graft, " + name);
  struct stat around, stub;
  if (::fstat(parent, &around) < 0 ||
      ::fstatat(parent, name.c_str(), &stub, AT_SYMLINK_NOFOLLOW) < 0)
    fail(errno, name);
  if (!S_ISDIR(stub.st_mode)) fail(ENOTDIR, "a graft covers a directory only, not " + name);
  if (stub.st_dev != around.st_dev) fail(EBUSY, "something is mounted at " + name);
  if (!is_empty(parent, name)) fail(ENOTEMPTY, "a graft never covers what is in " + name);
  return made;
}

std::vector<std::pair<dev_t, ino_t>> directories_up(int from, int root) {
  struct stat top, here;
  if (::fstat(root, &top) < 0) fail(errno, "a tree's root");
  std::vector<std::pair<dev_t, ino_t>> out;
  UniqueFd at(::openat(from, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  while (at && out.size() < kMaxDepth) {
    if (::fstat(at.get(), &here) < 0) break;
    const std::pair<dev_t, ino_t> directory{here.st_dev, here.st_ino};
    if (!out.empty() && out.back() == directory) fail(EXDEV, "the point is not in the tree");
    out.push_back(directory);
    if (here.st_dev == top.st_dev && here.st_ino == top.st_ino) return out;
    at.reset(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  fail(at ? ELOOP : errno, "the directories above the point");
}

}  // namespace insitu
