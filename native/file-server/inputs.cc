#include "file-server/inputs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/failure.h"
#include "file-server/dirty_pages.h"

namespace insitu {
namespace {

// Between the stamp and the last byte of one write(2), which has at most 2 GiB.
constexpr int64_t kLongestWriteNs = 2'000'000'000;

// A listing beyond this would not fit into a guest's memory either.
constexpr size_t kMaxEntries = 1'000'000;
// Room for the largest number of inputs with ordinary names. Without it a guest could ask for so many
// long names that are not there that keeping them takes the daemon's memory.
constexpr size_t kMaxPathBytes = 32 * 1024 * 1024;

[[noreturn]] void fail(int error, const std::string& path) {
  const std::string name = path.empty() ? "." : path;
  switch (error) {
    case EXDEV:
      throw Failure(EXDEV, name + " leads out of the program's directory");
    case ELOOP:
      throw Failure(ELOOP, name + " is a link that cannot be followed");
    default:
      throw Failure(error, name + ": " + std::strerror(error));
  }
}

EntryKind entry_kind_of(int directory, const dirent64& entry) {
  switch (entry.d_type) {
    case DT_REG:
      return EntryKind::File;
    case DT_DIR:
      return EntryKind::Directory;
    case DT_LNK:
      return EntryKind::Symlink;
    case DT_UNKNOWN: {
      Attributes attributes;
      const int error =
          read_attributes(directory, entry.d_name, AT_SYMLINK_NOFOLLOW, attributes);
      return error == 0 ? entry_kind(attributes.mode) : EntryKind::Other;
    }
    default:
      return EntryKind::Other;
  }
}

}  // namespace

uint64_t digest(const std::vector<std::string>& names) {
  uint64_t out = 0;
  for (const std::string& name : names)
    out = out * 0x9E3779B97F4A7C15u + (std::hash<std::string>{}(name) | 1);
  return out;
}

EntryKind entry_kind(uint32_t mode) {
  if (S_ISREG(mode)) return EntryKind::File;
  if (S_ISDIR(mode)) return EntryKind::Directory;
  if (S_ISLNK(mode)) return EntryKind::Symlink;
  return EntryKind::Other;
}

InputSession::InputSession(std::shared_ptr<Volume> volume, std::string key, Principal principal,
                           std::vector<Identity> restored)
    : volume_(std::move(volume)),
      key_(std::move(key)),
      principal_(std::move(principal)) {
  for (Identity& identity : restored) record(std::move(identity));
}

InputSession::Opened InputSession::open(const std::string& raw) {
  const std::string path = normalise(raw);
  const UniqueFd directory = volume_->open_for_reading(key_);
  // The kind is checked on a description that opens nothing: a FIFO or device never notices.
  const UniqueFd found = open_path(directory.get(), path, O_PATH);
  Attributes attributes;
  int error = read_attributes(found.get(), attributes);
  if (error == 0 && !S_ISREG(attributes.mode)) {
    record(make_identity(path, InputKind::Attributes, attributes));
    throw Failure(EINVAL, path + " is not a regular file");
  }
  UniqueFd fd;
  if (error == 0) {
    const std::string link = "/proc/self/fd/" + std::to_string(found.get());
    const PrincipalScope scope(principal_);
    fd.reset(::open(link.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) error = errno;
  }
  if (error != 0) {
    record_refusal(directory.get(), path, error);
    fail(error, path);
  }
  fcntl(fd.get(), F_SETFL, 0);
  Identity identity;
  identity.path = path;
  attributes = settle(fd.get(), identity);
  record(std::move(identity));
  return {std::move(fd), attributes};
}

Attributes InputSession::stat(const std::string& raw) {
  const std::string path = normalise(raw);
  const UniqueFd directory = volume_->open_for_reading(key_);
  const UniqueFd found = open_path(directory.get(), path, O_PATH);
  Attributes attributes;
  const int error = read_attributes(found.get(), attributes);
  if (error != 0) fail(error, path);
  Identity identity = make_identity(path, InputKind::Attributes, attributes);
  identity.uncertain = is_too_recent(attributes);
  record(std::move(identity));
  return attributes;
}

std::vector<InputSession::Entry> InputSession::list(const std::string& raw) {
  const std::string path = normalise(raw);
  const UniqueFd directory = volume_->open_for_reading(key_);
  UniqueFd fd = open_path(directory.get(), path, O_RDONLY | O_DIRECTORY);
  // Before the entries: a change while they are read then shows.
  Attributes attributes;
  const int error = read_attributes(fd.get(), attributes);
  if (error != 0) fail(error, path);
  Identity identity = make_identity(path, InputKind::Directory, attributes);
  identity.uncertain = is_too_recent(attributes);
  const auto registry = volume_->registry();
  const std::vector<std::string> points =
      registry ? registry->points_in(attributes.dev, attributes.ino) : std::vector<std::string>{};
  identity.points = digest(points);
  record(std::move(identity));

  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd.get()), closedir);
  if (!stream) fail(errno, path);
  const int number = fd.release();
  std::vector<Entry> entries;
  for (;;) {
    errno = 0;
    const dirent64* entry = readdir64(stream.get());
    if (entry == nullptr) {
      if (errno != 0) fail(errno, path);
      break;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || std::ranges::binary_search(points, name)) continue;
    if (entries.size() == kMaxEntries) throw Failure(EMFILE, path + " has too many entries");
    entries.push_back({std::string(name), entry_kind_of(number, *entry)});
  }
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

size_t InputSession::size() const {
  const std::shared_lock lock(mutex_);
  return identities_.size();
}

bool InputSession::is_quick() const {
  constexpr size_t few = 16;
  return volume_->is_local() && size() <= few;
}

std::vector<Identity> InputSession::identities() const {
  const std::shared_lock lock(mutex_);
  return identities_;
}

std::string InputSession::normalise(const std::string& path) {
  if (path.find('\0') != std::string::npos) throw Failure(EINVAL, "a path holds a NUL");
  if (path.starts_with('/')) throw Failure(EXDEV, path + " is not inside the program's directory");
  std::string result;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = std::string_view(path).substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") throw Failure(EINVAL, path + " holds a '..'");
    if (!result.empty()) result += '/';
    result += part;
  }
  return result;
}

UniqueFd InputSession::open_path(int directory, const std::string& path, uint64_t flags) {
  UniqueFd fd;
  int error = 0;
  {
    const PrincipalScope scope(principal_);
    error = open_beneath(directory, path, flags, 0, fd);
  }
  if (error == 0 || error == ENOENT) refuse_points(directory, path, fd);
  if (error == 0) return fd;
  record_refusal(directory, path, error);
  fail(error, path);
}

bool InputSession::is_covered(int fd) const {
  const auto registry = volume_->registry();
  Attributes now;
  return registry && read_attributes(fd, now) == 0 && S_ISDIR(now.mode) &&
         registry->is_covered(now.dev, now.ino);
}

void InputSession::refuse_points(int directory, const std::string& path, const UniqueFd& found) {
  if (path.empty() || !volume_->registry()) return;
  bool covered = found && is_covered(found.get());
  for (size_t at = path.find('/'); !found && !covered && at != std::string::npos;
       at = path.find('/', at + 1)) {
    UniqueFd above;
    if (open_beneath(directory, path.substr(0, at), O_PATH | O_DIRECTORY, 0, above) != 0) break;
    covered = is_covered(above.get());
  }
  if (!covered) return;
  Identity identity;
  identity.path = path;
  record(std::move(identity));
  throw Failure(EXDEV, path + " is in another tree, which is grafted there");
}

// The state of an input at a moment from which on nothing can change it without changing its times.
// The kernel stamps a file before it copies what is written, or lets a store to a mapping go on: a
// stamp that is recent may be that of bytes which are still to come, unless nobody can be writing. And
// a page that is dirty and mapped takes further stores without a stamp until it is written back; the
// next store then faults. So the attributes are read before writers and pages are looked at.
Attributes InputSession::settle(int fd, Identity& identity) {
  constexpr int kTries = 4;  // somebody who stores all the time would never let it settle
  const auto registry = volume_->registry();
  Attributes now;
  const auto read_now = [&] {
    if (const int error = read_attributes(fd, now); error != 0) fail(error, identity.path);
  };
  read_now();
  Writers writers;
  if (registry) writers = registry->writers(now.dev, now.ino);
  if (writers.ever_read_write) {
    registry->write_back(now.dev, now.ino);
    read_now();
  }
  bool settled = registry && registry->exclusive() && !writers.ever_read_write;
  if (!settled && volume_->on_tmpfs()) {
    // Stores to its mappings change no times, ever: the times tell the state only of a file that
    // nobody can be mapping for writing.
    settled = !has_writers(fd);
  } else {
    for (int attempt = 0; attempt < kTries && !settled; ++attempt) {
      settled = !has_dirty_pages(fd) || !has_writers(fd);
      if (settled) break;
      const Attributes before = now;
      write_dirty_pages(fd);
      read_now();
      settled = before.size == now.size && before.mtime_ns == now.mtime_ns &&
                before.ctime_ns == now.ctime_ns;
    }
  }
  const bool recent = wall_clock_ns() - now.ctime_ns < kLongestWriteNs;
  if (settled && recent) settled = !has_writers(fd);
  identity = make_identity(std::move(identity.path), InputKind::File, now);
  identity.overwriters = writers.overwriters_ever;
  identity.uncertain = !settled || is_too_recent(now);
  return now;
}

bool InputSession::is_too_recent(const Attributes& attributes) const {
  const int64_t granularity = volume_->granularity_ns();
  if (granularity == 0) return false;
  return std::max(attributes.mtime_ns, attributes.ctime_ns) > wall_clock_ns() - granularity;
}

// What was seen first counts: when it changed in between, the run fails its validation.
void InputSession::record(Identity identity) {
  const std::lock_guard lock(mutex_);
  std::string name = std::to_string(static_cast<int>(identity.kind)) + identity.path;
  if (recorded_.contains(name)) return;
  if (identities_.size() >= volume_->max_inputs())
    throw Failure(EMFILE, "the program looks at more than " +
                              std::to_string(volume_->max_inputs()) + " inputs");
  path_bytes_ += identity.path.size();
  if (path_bytes_ > kMaxPathBytes)
    throw Failure(EMFILE, "the names that the program looks at have more than " +
                              std::to_string(kMaxPathBytes) + " bytes");
  recorded_.insert(std::move(name));
  identities_.push_back(std::move(identity));
}

// A refusal is part of what a run saw: when its reason goes away the results are no longer fresh.
void InputSession::record_refusal(int directory, const std::string& path, int error) {
  const auto record_entry = [&](const std::string& name) {
    UniqueFd fd;
    Attributes attributes;
    if (open_beneath(directory, name, O_PATH | O_NOFOLLOW, 0, fd) != 0 ||
        read_attributes(fd.get(), attributes) != 0)
      return false;
    record(make_identity(name, InputKind::Attributes, attributes));
    return true;
  };
  // ENOTDIR is also what listing a file gives; and a link may lead to nothing.
  const bool exists = record_entry(path);
  if (error == ENOENT || (error == ENOTDIR && !exists)) {
    Identity identity;
    identity.path = path;
    record(std::move(identity));
  }
  if (error != EACCES || path.empty()) return;
  // Any directory on the way may be what refused.
  record_entry("");
  for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1))
    record_entry(path.substr(0, at));
}

}  // namespace insitu
