#include "tree_overlap.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <system_error>

#include "reopen.h"

namespace insitu {

namespace {

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

// Blanks and the like are written as three octal digits.
std::string unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Asks no filesystem.
int mount_of(int fd) {
  struct statx status;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &status) == 0 &&
      (status.stx_mask & STATX_MNT_ID) != 0)
    return static_cast<int>(status.stx_mnt_id);
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string word; info >> word;)
    if (int id = 0; word == "mnt_id:" && info >> id) return id;
  fail(EIO, "the mount of a backing directory cannot be told");
}

// In our mount namespace, as it is now.
std::string path_of(int directory) {
  std::array<char, PATH_MAX> buffer;
  const ssize_t size = ::readlink(ProcPath(directory).c_str(), buffer.data(), buffer.size());
  if (size < 0) fail(errno, "the path of a backing directory cannot be told");
  return {buffer.data(), static_cast<size_t>(size)};
}

// What is left of `path` below `directory`; "" for itself, else with its slash.
std::optional<std::string> below(const std::string& path, const std::string& directory) {
  const std::string prefix = directory == "/" ? "" : directory;
  if (path == directory) return "";
  if (!path.starts_with(prefix + "/")) return std::nullopt;
  return path.substr(prefix.size());
}

std::string joined(const std::string& directory, const std::string& rest) {
  if (rest.empty()) return directory;
  return (directory == "/" ? "" : directory) + rest;
}

size_t joined(size_t digest, size_t next) { return digest * 1'099'511'628'211u ^ next; }

MountTable read_mount_table() {
  MountTable out;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string text; std::getline(table, text);) {
    std::istringstream words(text);
    MountLine line;
    line.digest = std::hash<std::string>{}(text);
    out.digest = joined(out.digest, line.digest);
    int parent = 0;
    if (!(words >> line.id >> parent >> line.device >> line.root >> line.point)) continue;
    line.root = unescaped(line.root);
    line.point = unescaped(line.point);
    out.lines.push_back(std::move(line));
  }
  return out;
}

}  // namespace

std::shared_ptr<const MountTable> mount_table() {
  static std::mutex mutex;
  static UniqueFd watch;
  static std::shared_ptr<const MountTable> known;
  const std::lock_guard lock(mutex);
  const bool watched = static_cast<bool>(watch);
  if (!watched) watch.reset(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  // Says once that there was a change; what changes after this question is told by the next one.
  pollfd change{watch.get(), POLLPRI, 0};
  const bool changed = !watch || ::poll(&change, 1, 0) != 0;
  if (!watched || changed || !known) known = std::make_shared<const MountTable>(read_mount_table());
  return known;
}

std::vector<Extent> extents_of(int directory, const MountTable& mounts) {
  const std::string path = path_of(directory);
  const int id = mount_of(directory);
  std::vector<Extent> out;
  bool found = false;
  for (const MountLine& mount : mounts.lines) {
    if (mount.id == id) {
      const auto rest = below(path, mount.point);
      if (!rest) break;
      found = true;
      out.push_back({mount.device, joined(mount.root, *rest)});
    } else if (below(mount.point, path)) {
      out.push_back({mount.device, mount.root});
    }
  }
  if (!found) fail(EINVAL, "a backing directory is not in the daemon's mount namespace");
  return out;
}

size_t digest_below(int directory, const MountTable& mounts) {
  const std::string path = path_of(directory);
  const int id = mount_of(directory);
  size_t digest = 0;
  for (const MountLine& mount : mounts.lines)
    if (mount.id == id || below(mount.point, path)) digest = joined(digest, mount.digest);
  return digest;
}

Extent whole_filesystem(const std::string& device) { return {device, "/"}; }

bool overlap(const std::vector<Extent>& some, const std::vector<Extent>& others) {
  for (const Extent& one : some)
    for (const Extent& other : others)
      if (one.device == other.device &&
          (below(one.path, other.path) || below(other.path, one.path)))
        return true;
  return false;
}

}  // namespace insitu
