#include "file-server/volume.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "common/failure.h"
#include "common/open_backing.h"
#include "file-server/local_filesystem.h"
#include "file-server/permission_bits.h"

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
constexpr size_t kMaxPlaces = 65'536;

constexpr const char* kClosed = "the tree was taken out of the mount";

// FS_IOC_GETFSUUID (Linux 6.9); Debian 12 has no header for it.
struct FilesystemUuid {
  uint8_t length;
  uint8_t bytes[16];
};
constexpr unsigned long kGetFilesystemUuid = _IOR(0x15, 0, FilesystemUuid);

void append_hex(std::string& text, uint64_t number, int digits) {
  std::array<char, 17> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%0*llx", digits,
                static_cast<unsigned long long>(number));
  text += buffer.data();
}

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
  UniqueFd root = open_backing(backing_);
  if (!root) fail(errno, "cannot open the backing directory " + backing_);
  UniqueFd readable(openat(root.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!readable && errno != EACCES) fail(errno, "cannot open the backing directory " + backing_);
  open(readable ? std::move(readable) : std::move(root));
}

Volume::Volume(int directory, std::string backing, size_t max_inputs)
    : backing_(std::move(backing)), max_inputs_(max_inputs) {
  UniqueFd root(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) fail(errno, "cannot open the backing directory " + backing_);
  open(std::move(root));
}

void Volume::open(UniqueFd root) {
  auto roots = std::make_shared<Roots>();
  roots->root = std::move(root);
  const int top = roots->root.get();
  roots->mount = mount_of(top);
  roots->reading = clone_for_reading(top);

  DirectoryKey::Handle handle;
  UniqueFd opened;
  handles_ = read_handle(top, handle) == 0 && open_handle(top, handle, opened) == 0 &&
             open_handle(roots->through(), handle, opened) == 0;

  struct statfs st{};
  if (fstatfs(top, &st) == 0) {
    on_tmpfs_ = st.f_type == TMPFS_MAGIC;
    local_ = is_local_filesystem(static_cast<uint64_t>(st.f_type));
  }
  granularity_ns_ = time_granularity_ns(top);
  roots_ = std::move(roots);
}

void Volume::close() {
  closed_ = true;
  std::shared_ptr<const Roots> roots;
  std::unordered_map<std::string, Remembered> remembered;
  const std::lock_guard lock(mutex_);
  roots.swap(roots_);
  remembered.swap(remembered_);
  places_.clear();
  registry_ = nullptr;
}

std::shared_ptr<const Volume::Roots> Volume::roots() const {
  const std::lock_guard lock(mutex_);
  if (!roots_) throw Failure(ESTALE, kClosed);
  return roots_;
}

void Volume::seen_through(int root) {
  UniqueFd shown(openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!shown) return;
  const uint64_t mount = mount_of(shown.get());
  const std::lock_guard lock(mutex_);
  if (!roots_ || mount == roots_->mount) return;
  auto roots = std::make_shared<Roots>();
  roots->root.reset(fcntl(roots_->root.get(), F_DUPFD_CLOEXEC, 0));
  roots->mount = roots_->mount;
  if (roots_->reading) roots->reading.reset(fcntl(roots_->reading.get(), F_DUPFD_CLOEXEC, 0));
  roots->shown = std::move(shown);
  roots->shown_mount = mount;
  roots_ = std::move(roots);
}

std::string Volume::fingerprint() const {
  const auto roots = this->roots();
  const int root = roots->root.get();
  Attributes attributes;
  const int error = read_attributes(root, attributes);
  if (error != 0) fail(error, backing_);
  std::string text;
  FilesystemUuid uuid{};
  if (ioctl(root, kGetFilesystemUuid, &uuid) == 0 && uuid.length <= sizeof uuid.bytes) {
    for (size_t at = 0; at < uuid.length; ++at) append_hex(text, uuid.bytes[at], 2);
  } else {
    // Of a device number, on some; then a tree is another one when that changes.
    struct statfs st{};
    uint64_t id = 0;
    if (fstatfs(root, &st) == 0) std::memcpy(&id, &st.f_fsid, sizeof id);
    append_hex(text, id, 1);
  }
  append_hex(text += '-', attributes.ino, 1);
  append_hex(text += '-', static_cast<uint64_t>(attributes.birth_ns), 1);
  return text;
}

std::string Volume::key_of(const std::string& path, const Principal* principal) {
  const auto roots = this->roots();
  UniqueFd fd;
  int error = 0;
  {
    std::optional<PrincipalScope> scope;
    if (principal) scope.emplace(*principal);
    error = open_beneath(roots->root.get(), path, O_PATH | O_DIRECTORY, 0, fd);
  }
  if (error != 0) fail(error, path);
  const auto registry = this->registry();
  Attributes attributes;
  if (registry && read_attributes(fd.get(), attributes) == 0 &&
      registry->is_covered(attributes.dev, attributes.ino))
    throw Failure(EXDEV, "a graft stands at " + path);
  return key_of(fd.get());
}

std::string Volume::key_of(int directory) {
  const auto roots = this->roots();
  // Handles and paths are both looked up on the volume's own mount, where they would be another
  // directory's.
  const uint64_t mount = mount_of(directory);
  const bool shown = roots->shown && mount == roots->shown_mount;
  if (mount != roots->mount && !shown)
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
  const std::string root = path_of_fd(shown ? roots->shown.get() : roots->root.get());
  std::string path = path_of_fd(directory);
  path = path.size() > root.size() ? path.substr(root == "/" ? 1 : root.size() + 1) : "";
  // What is kept open is on the backing's own mount, by which it is verified.
  UniqueFd own;
  if (shown)
    open_beneath(roots->root.get(), path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, own);
  remember(text, shown ? own.get() : directory, path);
  return text;
}

std::optional<std::string> Volume::path_of(const std::string& key) {
  auto found = find(*roots(), key);
  if (!found) return std::nullopt;
  return std::move(found->path);
}

Attributes Volume::stat(const std::string& key) {
  const auto found = find(*roots(), key);
  if (!found) throw Failure(ESTALE, "the directory is gone");
  return found->attributes;
}

Attributes Volume::attributes(const std::string& path) {
  UniqueFd fd;
  Attributes attributes;
  int error = open_beneath(roots()->root.get(), path, O_PATH, 0, fd);
  if (error == 0) error = read_attributes(fd.get(), attributes);
  if (error != 0) fail(error, path);
  return attributes;
}

bool Volume::access(const std::string& key, const Principal& principal, int mode) {
  const auto found = find(*roots(), key);
  if (!found) throw Failure(ESTALE, "the directory is gone");
  int error = 0;
  {
    const PrincipalScope scope(principal, PrincipalScope::Rights::Full);
    // AT_EACCESS: the ids of this thread, not those of the process.
    constexpr int flags = AT_EMPTY_PATH | AT_EACCESS;
    if (syscall(SYS_faccessat2, found->fd.get(), "", mode, flags) != 0) error = errno;
  }
  if (error == EROFS && read_only_)
    return is_permitted(found->fd.get(), found->attributes, principal, static_cast<uint32_t>(mode));
  return error == 0;
}

Volume::Place Volume::place(const std::string& key) {
  {
    const std::lock_guard lock(mutex_);
    const auto known = places_.find(key);
    if (known != places_.end()) return known->second;
  }
  const Attributes now = stat(key);
  return {now.dev, now.ino};
}

UniqueFd Volume::open_for_reading(const std::string& key) {
  const auto roots = this->roots();
  const int through = roots->through();
  const auto parsed = DirectoryKey::parse(key);
  UniqueFd fd;
  if (parsed && parsed->handle && handles_) {
    const int error = open_handle(through, *parsed->handle, fd);
    Attributes attributes;
    if (error == 0 && read_attributes(fd.get(), attributes) == 0 && attributes.nlink > 0) return fd;
    throw Failure(ESTALE, "the directory is gone");
  }
  auto found = find(*roots, key);
  if (!found) throw Failure(ESTALE, "the directory is gone");
  if (!roots->reading) return std::move(found->fd);
  Attributes attributes;
  const int error =
      open_beneath(through, found->path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, fd);
  if (error != 0 || read_attributes(fd.get(), attributes) != 0 ||
      attributes.ino != found->attributes.ino || attributes.dev != found->attributes.dev)
    throw Failure(ESTALE, "the directory moved");
  return fd;
}

std::optional<Volume::Found> Volume::find(const Roots& roots, const std::string& key) {
  const auto parsed = DirectoryKey::parse(key);
  if (!parsed) throw Failure(EINVAL, "not a directory key");
  UniqueFd fd;
  std::optional<Found> found;
  if (!parsed->handle)
    found = find_remembered(roots, key, *parsed);
  else if (handles_ && open_handle(roots.root.get(), *parsed->handle, fd) == 0)
    found = verify(roots, std::move(fd));
  if (!found) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (places_.size() < kMaxPlaces)
    places_.insert_or_assign(key, Place{found->attributes.dev, found->attributes.ino});
  return found;
}

std::optional<Volume::Found> Volume::find_remembered(const Roots& roots,
                                                     const std::string& key,
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
  if (!fd && open_beneath(roots.root.get(), path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, fd) !=
                 0)
    return std::nullopt;
  auto found = verify(roots, std::move(fd));
  if (!found) return std::nullopt;
  const Attributes& now = found->attributes;
  const DirectoryKey::Numbers& then = parsed.numbers;
  if (now.dev != then.dev || now.ino != then.ino || now.birth_ns != then.birth_ns)
    return std::nullopt;
  return found;
}

// The path of a descriptor is only a hint (the directory may be deleted or outside): it counts when
// it leads back to the same directory.
std::optional<Volume::Found> Volume::verify(const Roots& roots, UniqueFd fd) {
  Found found;
  if (read_attributes(fd.get(), found.attributes) != 0 || found.attributes.nlink == 0)
    return std::nullopt;
  const std::string root = path_of_fd(roots.root.get());
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
  if (open_beneath(roots.root.get(), path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, again) != 0 ||
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
  if (roots_) registry_ = std::move(registry);
}

std::shared_ptr<WriterRegistry> Volume::registry() const {
  const std::lock_guard lock(mutex_);
  return registry_;
}

}  // namespace insitu
