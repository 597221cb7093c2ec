#include "observe.h"

#include <dirent.h>
#include <sys/xattr.h>

#include <algorithm>
#include <map>

uint64_t hash_bytes(const void* bytes, size_t size, uint64_t start) {
  const auto* const all = static_cast<const unsigned char*>(bytes);
  uint64_t hash = start;
  for (size_t i = 0; i < size; i += 1) hash = (hash ^ all[i]) * 1099511628211u;
  return hash;
}

std::string attributes_text(const struct stat& st) {
  char text[160];
  // A directory's size, and how many blocks something has before it is written out, are the
  // filesystem's own business.
  std::snprintf(text, sizeof text, "%06o %u:%u links %lu size %lld rdev %lx", st.st_mode, st.st_uid,
                st.st_gid, static_cast<unsigned long>(st.st_nlink),
                S_ISDIR(st.st_mode) ? 0ll : static_cast<long long>(st.st_size),
                static_cast<unsigned long>(st.st_rdev));
  return text;
}

std::string time_text(const timespec& time) {
  constexpr time_t kLatestSet = 1'600'000'000;
  if (time.tv_sec >= kLatestSet) return "now";
  return std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
}

namespace {

Seen look_at(const std::string& path) {
  Seen seen;
  if (::lstat(path.c_str(), &seen.st) < 0) seen.error = errno;
  return seen;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

void look_around(Observation& out, const std::string& path) {
  out.items.push_back({path, look_at(path)});
  out.items.push_back({parent_of(path), look_at(parent_of(path))});
}

void look_into(Observation& out, const char* what, int fd) {
  Seen seen;
  if (::fstat(fd, &seen.st) < 0) seen.error = errno;
  out.items.push_back({what, seen});
}

bool same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

Observation observe(const Side& side, const Operation& op) {
  Observation out;
  const unsigned uses = operation_kinds()[op.kind].uses;
  out.access_times = uses & kSetsTimes;
  if (uses & kPath) look_around(out, path_of(op.path));
  if (uses & kOtherPath) look_around(out, path_of(op.other_path));
  if (uses & (kSlot | kNewSlot)) look_into(out, uses & kSlot ? "slot" : "new", side.files[op.slot]);
  if (uses & kOtherSlot) look_into(out, "other slot", side.files[op.other_slot]);
  return out;
}

std::string text_of(const Observation& before, const Observation& after) {
  std::string text;
  for (size_t i = 0; i < after.items.size(); i += 1) {
    const Seen& now = after.items[i].seen;
    const Seen& then = before.items[i].seen;
    text += "\n    " + after.items[i].what.substr(0, 80) + ": ";
    if (now.error) {
      text += strerrorname_np(now.error);
      continue;
    }
    text += attributes_text(now.st);
    // Bytes through a FIFO move its times, which the kernel keeps from filesystems like ours.
    if (S_ISFIFO(now.st.st_mode)) continue;
    text += " mtime " + time_text(now.st.st_mtim);
    if (after.items[i].what == "new" || then.error || then.st.st_ino != now.st.st_ino || then.st.st_dev != now.st.st_dev) continue;
    text += same(then.st.st_mtim, now.st.st_mtim) ? "" : " mtime moved";
    text += same(then.st.st_ctim, now.st.st_ctim) ? "" : " ctime moved";
    if (after.access_times && i == 0 && !S_ISLNK(now.st.st_mode) &&
        !same(then.st.st_atim, now.st.st_atim) && time_text(now.st.st_atim) != "now")
      text += " atime " + time_text(now.st.st_atim);
  }
  return text;
}

namespace {

using Inodes = std::map<ino_t, size_t>;

std::string content_text(const std::string& path, off_t size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return " content " + outcome(-1);
  std::string bytes(65'536, '\0');
  uint64_t hash = 0;
  // Of large ones, which are holes, both ends.
  constexpr off_t kWhole = 4 << 20;
  for (off_t at = 0; at < size;) {
    const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), at);
    if (got <= 0) {
      hash = got < 0 ? static_cast<uint64_t>(errno) : 1;
      break;
    }
    hash = hash_bytes(bytes.data(), static_cast<size_t>(got), hash);
    at += got;
    if (size > kWhole && at < size - kWhole / 2 && at > kWhole / 2) at = size - kWhole / 2;
  }
  ::close(fd);
  return " content " + std::to_string(hash);
}

std::string xattrs_text(const std::string& path) {
  std::string names(4096, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0) return " xattrs " + outcome(-1);
  std::vector<std::string> found;
  for (size_t i = 0; i < static_cast<size_t>(size); i += found.back().size() + 1)
    found.emplace_back(names.c_str() + i);
  std::sort(found.begin(), found.end());
  std::string text;
  for (const auto& name : found) {
    char value[4096];
    const ssize_t got = ::lgetxattr(path.c_str(), name.c_str(), value, sizeof value);
    text += " " + name + "=" +
            (got < 0 ? outcome(-1) : std::to_string(hash_bytes(value, static_cast<size_t>(got))));
  }
  return text;
}

void describe_tree(const std::string& root, const std::string& path, Inodes& inodes,
                   std::map<std::string, std::string>& out) {
  const std::string whole = path.empty() ? root : root + "/" + path;
  struct stat st;
  if (::lstat(whole.c_str(), &st) < 0) {
    out[path] = outcome(-1);
    return;
  }
  const size_t number = inodes.emplace(st.st_ino, inodes.size()).first->second;
  std::string text = attributes_text(st) + " inode #" + std::to_string(number) + xattrs_text(whole);
  if (!S_ISFIFO(st.st_mode)) text += " mtime " + time_text(st.st_mtim);
  if (S_ISREG(st.st_mode)) text += content_text(whole, st.st_size);
  if (S_ISLNK(st.st_mode)) {
    char target[4097];
    const ssize_t got = ::readlink(whole.c_str(), target, sizeof target);
    text += " -> " + (got < 0 ? outcome(-1) : std::string(target, static_cast<size_t>(got)));
  }
  out[path] = text;
  if (!S_ISDIR(st.st_mode)) return;
  std::vector<std::string> names;
  if (DIR* directory = ::opendir(whole.c_str())) {
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    ::closedir(directory);
  }
  std::sort(names.begin(), names.end());
  for (const auto& name : names)
    describe_tree(root, path.empty() ? name : path + "/" + name, inodes, out);
}

}  // namespace

std::optional<std::string> compare_trees(const std::string& left, const std::string& right) {
  std::map<std::string, std::string> sides[2];
  Inodes inodes[2];
  describe_tree(left, "", inodes[0], sides[0]);
  describe_tree(right, "", inodes[1], sides[1]);
  for (const auto& [path, text] : sides[0]) {
    const auto found = sides[1].find(path);
    const std::string other = found == sides[1].end() ? "(missing)" : found->second;
    if (text != other) return "tree at \"" + path + "\"\n  backing: " + text + "\n  mount:   " + other;
  }
  for (const auto& [path, text] : sides[1])
    if (!sides[0].contains(path)) return "tree at \"" + path + "\" only on the mount: " + text;
  return std::nullopt;
}
