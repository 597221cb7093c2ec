#include "tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "common/unique_fd.h"

namespace insitu {

namespace {

constexpr unsigned kLook = STATX_BASIC_STATS;
// A snapshot is for data sets, and every inode of it is held in memory here.
constexpr size_t kMaxInodes = 4'000'000;
// Each level holds two descriptors, and paths are walked at once.
constexpr size_t kMaxDepth = 256;
constexpr size_t kMaxPathBytes = 4'000;
// Of the clock that inodes are stamped with, at HZ=100.
constexpr std::chrono::milliseconds kTick{10};

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  const int error = errno;
  throw Refused(what + " \"" + path + "\": " + std::strerror(error));
}

std::string below(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "/" + name;
}

bool before(const statx_timestamp& one, const timespec& other) {
  return one.tv_sec != other.tv_sec ? one.tv_sec < other.tv_sec
                                    : static_cast<long>(one.tv_nsec) < other.tv_nsec;
}

bool same(const statx_timestamp& one, const statx_timestamp& other) {
  return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

UniqueFd open_in(int directory, const char* path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how)));
}

std::vector<std::string> names_in(int directory, const std::string& path) {
  std::vector<std::string> names;
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const entries = fd < 0 ? nullptr : ::fdopendir(fd);
  if (!entries) fail("list", path);
  errno = 0;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const int error = errno;
  ::closedir(entries);
  errno = error;
  if (error != 0) fail("list", path);
  return names;
}

// As "/proc/self/fd/N", since O_PATH descriptors have no xattrs of their own.
std::string by_descriptor(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// ACLs are among them.
void copy_xattrs(int from, int to, const std::string& path) {
  const std::string source = by_descriptor(from);
  const std::string target = by_descriptor(to);
  static std::vector<char> names(65'536);
  static std::vector<char> value(65'536);
  const ssize_t length = ::listxattr(source.c_str(), names.data(), names.size());
  if (length < 0 && errno == ENOTSUP) return;
  if (length < 0) fail("read the attributes of", path);
  for (const char* name = names.data(); name < names.data() + length;
       name += std::strlen(name) + 1) {
    const ssize_t size = ::getxattr(source.c_str(), name, value.data(), value.size());
    if (size < 0) fail("read the attributes of", path);
    if (::setxattr(target.c_str(), name, value.data(), static_cast<size_t>(size), 0) < 0)
      fail("copy the attributes of", path);
  }
}

timespec to_timespec(const statx_timestamp& time) {
  return {time.tv_sec, static_cast<long>(time.tv_nsec)};
}

// Owner first: it takes setid bits away; times last.
void copy_attributes(int from, int to, const struct statx& attributes, const std::string& path) {
  if (::fchown(to, attributes.stx_uid, attributes.stx_gid) < 0) fail("give away", path);
  if (::fchmod(to, attributes.stx_mode & 07777) < 0) fail("set the mode of", path);
  copy_xattrs(from, to, path);
  const timespec times[2] = {to_timespec(attributes.stx_atime), to_timespec(attributes.stx_mtime)};
  if (::futimens(to, times) < 0) fail("set the times of", path);
}

}  // namespace

std::string TreeCopy::copy(int from, int to) {
  copy_root_ = to;
  try {
    const struct statx root = look(from, "", "");
    device_ = ::makedev(root.stx_dev_major, root.stx_dev_minor);
    seen_.push_back({"", root});
    copy_directory(from, to, "");
    copy_attributes(from, to, root, "");
    verify(from);
  } catch (const Changed& changed) {
    return changed.path.empty() ? "." : changed.path;
  }
  return "";
}

// Waits for the tick in which it changed to be over: a later change then has another time.
struct statx TreeCopy::look(int directory, const char* name, const std::string& path) {
  for (;;) {
    timespec now;
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    struct statx attributes;
    const int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC | (*name == '\0' ? AT_EMPTY_PATH : 0);
    if (::statx(directory, name, flags, kLook, &attributes) < 0) {
      if (errno == ENOENT) throw Changed{path};
      fail("look at", path);
    }
    if (before(attributes.stx_ctime, now)) return attributes;
    if (std::chrono::steady_clock::now() >= end_) throw Changed{path};
    std::this_thread::sleep_for(kTick);
  }
}

void TreeCopy::copy_directory(int from, int to, const std::string& path) {
  for (const std::string& name : names_in(from, path)) {
    const std::string inner = below(path, name);
    if (seen_.size() >= kMaxInodes) throw Refused("it has too many files");
    if (std::chrono::steady_clock::now() >= end_)
      throw OutOfTime("there was no time for more than " + std::to_string(seen_.size()) + " files");
    if (inner.size() > kMaxPathBytes) throw Refused("it is too deep, at \"" + path + "\"");
    copy_entry(from, to, name, inner);
  }
}

void TreeCopy::copy_entry(int from, int to, const std::string& name, const std::string& path) {
  const struct statx attributes = look(from, name.c_str(), path);
  if (::makedev(attributes.stx_dev_major, attributes.stx_dev_minor) != device_)
    throw Refused("another filesystem is mounted in it, at \"" + path + "\"");
  seen_.push_back({path, attributes});
  if (S_ISDIR(attributes.stx_mode)) {
    if (static_cast<size_t>(std::count(path.begin(), path.end(), '/')) >= kMaxDepth)
      throw Refused("it is too deep, at \"" + path + "\"");
    const UniqueFd inner = open_in(from, name.c_str(), O_RDONLY | O_DIRECTORY);
    if (!inner) throw Changed{path};
    if (::mkdirat(to, name.c_str(), 0700) < 0) fail("make", path);
    const UniqueFd made = open_in(to, name.c_str(), O_RDONLY | O_DIRECTORY);
    if (!made) fail("open", path);
    copy_directory(inner.get(), made.get(), path);
    return copy_attributes(inner.get(), made.get(), attributes, path);
  }
  if (attributes.stx_nlink > 1) {
    const auto [first, fresh] = linked_.emplace(attributes.stx_ino, path);
    if (!fresh) {
      if (::linkat(copy_root_, first->second.c_str(), to, name.c_str(), 0) < 0) fail("link", path);
      return;
    }
  }
  if (S_ISREG(attributes.stx_mode)) return copy_file(from, to, name, path, attributes);
  if (S_ISLNK(attributes.stx_mode)) {
    std::string target(static_cast<size_t>(attributes.stx_size) + 1, '\0');
    const ssize_t length = ::readlinkat(from, name.c_str(), target.data(), target.size());
    if (length < 0 || static_cast<size_t>(length) >= target.size()) throw Changed{path};
    target.resize(static_cast<size_t>(length));
    if (::symlinkat(target.c_str(), to, name.c_str()) < 0) fail("make", path);
  } else if (::mknodat(to, name.c_str(), attributes.stx_mode,
                       ::makedev(attributes.stx_rdev_major, attributes.stx_rdev_minor)) < 0) {
    fail("make", path);
  }
  if (::fchownat(to, name.c_str(), attributes.stx_uid, attributes.stx_gid, AT_SYMLINK_NOFOLLOW) < 0)
    fail("give away", path);
  const timespec times[2] = {to_timespec(attributes.stx_atime), to_timespec(attributes.stx_mtime)};
  if (::utimensat(to, name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0) fail("set the times of", path);
}

void TreeCopy::copy_file(int from, int to, const std::string& name, const std::string& path,
                         const struct statx& attributes) {
  const UniqueFd source = open_in(from, name.c_str(), O_RDONLY | O_NONBLOCK);
  if (!source) throw Changed{path};
  struct stat opened;
  if (::fstat(source.get(), &opened) < 0 || opened.st_ino != attributes.stx_ino) throw Changed{path};
  const UniqueFd target(
      ::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target) fail("make", path);
  if (::ioctl(target.get(), FICLONE, source.get()) < 0) {
    if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL)
      throw Refused("its filesystem cannot share blocks between files (xfs and btrfs can)");
    if (errno == EXDEV) throw Refused("the snapshot would lie on another filesystem than the volume");
    fail("share the blocks of", path);
  }
  copy_attributes(source.get(), target.get(), attributes, path);
}

void TreeCopy::verify(int root) const {
  for (const auto& [path, first] : seen_) {
    struct statx now;
    const UniqueFd fd = path.empty() ? UniqueFd(::dup(root)) : open_in(root, path.c_str(), O_PATH);
    if (!fd || ::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, kLook, &now) < 0 ||
        now.stx_ino != first.stx_ino || !same(now.stx_ctime, first.stx_ctime) ||
        !same(now.stx_mtime, first.stx_mtime) || now.stx_size != first.stx_size)
      throw Changed{path};
  }
}

void remove_tree(int directory, const char* name) {
  if (::unlinkat(directory, name, 0) == 0 || errno == ENOENT) return;
  {
    const UniqueFd inner(
        ::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner) fail("open", name);
    for (const std::string& each : names_in(inner.get(), name))
      remove_tree(inner.get(), each.c_str());
  }
  if (::unlinkat(directory, name, AT_REMOVEDIR) < 0) fail("remove", name);
}

}  // namespace insitu
