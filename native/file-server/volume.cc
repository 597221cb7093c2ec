#include "file-server/volume.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "common/failure.h"
#include "file-server/local_filesystem.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

namespace insitu {
namespace {

// Directories without handles that are kept open, so that a rename does not lose them; each costs a
// descriptor.
constexpr size_t kMaxKeptOpen = 512;
// Their paths that are remembered beyond that.
constexpr size_t kMaxRemembered = 65'536;

[[noreturn]] void fail(int error, const std::string& what) {
  throw Failure(error, what + ": " + std::strerror(error));
}

std::string path_of_fd(int fd) {
  std::array<char, PATH_MAX> buffer;
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), buffer.data(), buffer.size());
  if (length < 0) return {};
  return {buffer.data(), static_cast<size_t>(length)};
}

// 0 where the kernel does not tell (before 5.8).
uint64_t mount_of(int fd) {
  struct statx attributes{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &attributes) != 0) return 0;
  return attributes.stx_mask & STATX_MNT_ID ? attributes.stx_mnt_id : 0;
}

// A detached copy of the mount tree at `root`, through which nothing can be written, executed, or
// opened as a device, whatever its receiver does with a descriptor. Empty without the privilege.
UniqueFd clone_for_reading(int root) {
  UniqueFd tree(static_cast<int>(syscall(SYS_open_tree, root, "",
                                         AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | O_CLOEXEC)));
  if (!tree) return {};
  mount_attr attributes{};
  attributes.attr_set =
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
              sizeof attributes) != 0)
    return {};
  // open_tree gives an O_PATH description; open_by_handle_at wants a real one.
  return UniqueFd(openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

Volume::Volume(std::string backing, size_t max_inputs)
    : backing_(std::move(backing)), max_inputs_(max_inputs) {
  root_.reset(open(backing_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root_ && errno == EACCES) root_.reset(open(backing_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root_) fail(errno, "cannot open the backing directory " + backing_);
  root_mount_ = mount_of(root_.get());
  reading_ = clone_for_reading(root_.get());
  const int through = reading_ ? reading_.get() : root_.get();

  DirectoryKey::Handle handle;
  UniqueFd opened;
  handles_ = read_handle(root_.get(), handle) == 0 &&
             open_handle(root_.get(), handle, opened) == 0 &&
             open_handle(through, handle, opened) == 0;

  struct statfs st{};
  if (fstatfs(root_.get(), &st) == 0) {
    on_tmpfs_ = st.f_type == TMPFS_MAGIC;
    local_ = is_local_filesystem(static_cast<uint64_t>(st.f_type));
  }
  granularity_ns_ = time_granularity_ns(root_.get());
}

std::string Volume::key_of(const std::string& path) {
  UniqueFd fd;
  const int error = open_beneath(root_.get(), path, O_PATH | O_DIRECTORY, 0, fd);
  if (error != 0) fail(error, path);
  return key_of(fd.get());
}

std::string Volume::key_of(int directory) {
  // Handles and paths are both looked up on the volume's own mount, where they would be another
  // directory's.
  if (mount_of(directory) != root_mount_)
    throw Failure(ENOTSUP, "the directory is on another filesystem than the volume");
  DirectoryKey key;
  if (handles_) {
    DirectoryKey::Handle handle;
    if (read_handle(directory, handle) == 0) {
      key.handle = std::move(handle);
      return key.text();
    }
  }
  Attributes attributes;
  const int error = read_attributes(directory, attributes);
  if (error != 0) fail(error, "directory");
  key.numbers = {attributes.dev, attributes.ino, attributes.birth_ns};
  std::string text = key.text();
  const std::string root = path_of_fd(root_.get()), path = path_of_fd(directory);
  remember(text, directory,
           path.size() > root.size() ? path.substr(root == "/" ? 1 : root.size() + 1) : "");
  return text;
}

std::optional<std::string> Volume::path_of(const std::string& key) {
  auto found = find(key);
  if (!found) return std::nullopt;
  return std::move(found->path);
}

Attributes Volume::stat(const std::string& key) {
  const auto found = find(key);
  if (!found) throw Failure(ESTALE, "the directory is gone");
  return found->attributes;
}

Attributes Volume::attributes(const std::string& path) {
  UniqueFd fd;
  Attributes attributes;
  int error = open_beneath(root_.get(), path, O_PATH, 0, fd);
  if (error == 0) error = read_attributes(fd.get(), attributes);
  if (error != 0) fail(error, path);
  return attributes;
}

bool Volume::access(const std::string& key, const Principal& principal, int mode) {
  const auto found = find(key);
  if (!found) throw Failure(ESTALE, "the directory is gone");
  const PrincipalScope scope(principal, PrincipalScope::Rights::Full);
  // AT_EACCESS: the ids of this thread, not those of the process.
  constexpr int flags = AT_EMPTY_PATH | AT_EACCESS;
  return syscall(SYS_faccessat2, found->fd.get(), "", mode, flags) == 0;
}

UniqueFd Volume::open_for_reading(const std::string& key) {
  const int through = reading_ ? reading_.get() : root_.get();
  const auto parsed = DirectoryKey::parse(key);
  UniqueFd fd;
  if (parsed && parsed->handle && handles_) {
    const int error = open_handle(through, *parsed->handle, fd);
    Attributes attributes;
    if (error == 0 && read_attributes(fd.get(), attributes) == 0 && attributes.nlink > 0) return fd;
    throw Failure(ESTALE, "the directory is gone");
  }
  auto found = find(key);
  if (!found) throw Failure(ESTALE, "the directory is gone");
  if (!reading_) return std::move(found->fd);
  Attributes attributes;
  const int error =
      open_beneath(through, found->path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, fd);
  if (error != 0 || read_attributes(fd.get(), attributes) != 0 ||
      attributes.ino != found->attributes.ino || attributes.dev != found->attributes.dev)
    throw Failure(ESTALE, "the directory moved");
  return fd;
}

std::optional<Volume::Found> Volume::find(const std::string& key) {
  const auto parsed = DirectoryKey::parse(key);
  if (!parsed) throw Failure(EINVAL, "not a directory key");
  if (!parsed->handle) return find_remembered(key, *parsed);
  UniqueFd fd;
  if (!handles_ || open_handle(root_.get(), *parsed->handle, fd) != 0) return std::nullopt;
  return verify(std::move(fd));
}

std::optional<Volume::Found> Volume::find_remembered(const std::string& key,
                                                     const DirectoryKey& parsed) {
  UniqueFd fd;
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = remembered_.find(key);
    if (entry == remembered_.end()) return std::nullopt;
    path = entry->second.path;
    if (entry->second.fd) fd.reset(fcntl(entry->second.fd.get(), F_DUPFD_CLOEXEC, 0));
  }
  if (!fd && open_beneath(root_.get(), path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, fd) != 0)
    return std::nullopt;
  auto found = verify(std::move(fd));
  if (!found) return std::nullopt;
  const Attributes& now = found->attributes;
  const DirectoryKey::Numbers& then = parsed.numbers;
  if (now.dev != then.dev || now.ino != then.ino || now.birth_ns != then.birth_ns)
    return std::nullopt;
  return found;
}

// The path of a descriptor is only a hint (the directory may be deleted or outside): it counts when
// it leads back to the same directory.
std::optional<Volume::Found> Volume::verify(UniqueFd fd) {
  Found found;
  if (read_attributes(fd.get(), found.attributes) != 0 || found.attributes.nlink == 0)
    return std::nullopt;
  const std::string root = path_of_fd(root_.get());
  std::string path = path_of_fd(fd.get());
  if (path == root) {
    path.clear();
  } else {
    const std::string prefix = root == "/" ? root : root + "/";
    if (!path.starts_with(prefix)) return std::nullopt;
    path.erase(0, prefix.size());
  }
  UniqueFd again;
  Attributes now;
  if (open_beneath(root_.get(), path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, again) != 0 ||
      read_attributes(again.get(), now) != 0 || now.dev != found.attributes.dev ||
      now.ino != found.attributes.ino)
    return std::nullopt;
  found.fd = std::move(fd);
  found.path = std::move(path);
  return found;
}

void Volume::remember(const std::string& key, int fd, std::string path) {
  const std::lock_guard lock(mutex_);
  // What falls out is found again as soon as it is named again.
  if (remembered_.size() >= kMaxRemembered && !remembered_.contains(key))
    remembered_.erase(remembered_.begin());
  Remembered& entry = remembered_[key];
  entry.path = std::move(path);
  if (!entry.fd && remembered_.size() <= kMaxKeptOpen)
    entry.fd.reset(openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

void Volume::serve(std::shared_ptr<WriterRegistry> registry) {
  const std::lock_guard lock(mutex_);
  registry_ = std::move(registry);
}

std::shared_ptr<WriterRegistry> Volume::registry() const {
  const std::lock_guard lock(mutex_);
  return registry_;
}

}  // namespace insitu
