// The half of InputSession that looks again at what a run saw.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>

#include "common/failure.h"
#include "file-server/dirty_pages.h"
#include "file-server/inputs.h"

namespace insitu {
namespace {

// What `path` is now, as a run would see it. One call for a name in the directory itself; anything
// deeper goes beneath, or a link put there later could lead a look into a mount of ours, and wait
// for itself.
int look_again(int directory, const Identity& identity, Attributes& now) {
  const std::string& path = identity.path;
  if (path.empty()) return read_attributes(directory, now);
  if (path.find('/') == std::string::npos) {
    const int error = read_attributes(directory, path.c_str(), AT_SYMLINK_NOFOLLOW, now);
    // A link that was refused was recorded itself.
    if (error != 0 || !S_ISLNK(now.mode) || same_state(identity, now)) return error;
  }
  UniqueFd fd;
  int error = open_beneath(directory, path, O_PATH, 0, fd);
  if (error == 0) error = read_attributes(fd.get(), now);
  if (error == 0 && same_inode(identity, now)) return 0;
  // What was refused was recorded without following it.
  UniqueFd link;
  Attributes unfollowed;
  if (identity.kind == InputKind::Attributes &&
      open_beneath(directory, path, O_PATH | O_NOFOLLOW, 0, link) == 0 &&
      read_attributes(link.get(), unfollowed) == 0 && same_state(identity, unfollowed))
    now = unfollowed, error = 0;
  return error;
}

const char* difference(const Identity& then, const Attributes& now) {
  if (!same_inode(then, now)) return "was replaced";
  if (then.size != now.size) return "changed its size";
  if (then.mtime_ns != now.mtime_ns) return "was written";
  if (then.ctime_ns != now.ctime_ns) return "changed its attributes";
  return nullptr;
}

// For whom a file or directory is open beyond its owner: group and other bits of `wanted`, where
// other counts only what the group has too (a member of the group is never "other").
uint32_t open_for(const Attributes& attributes, uint32_t wanted, uint32_t gid, bool of_gid) {
  const uint32_t mode = attributes.mode;
  const bool group = (mode >> 3 & wanted) == wanted;
  const bool other = group && (mode & wanted) == wanted;
  return (group && (attributes.gid == gid || (!of_gid && other)) ? 0040u : 0u) |
         (other ? 0004u : 0u);
}

constexpr uint32_t kRead = 04, kSearch = 01;

}  // namespace

Validation InputSession::validate(Look look) {
  UniqueFd directory;
  try {
    directory = volume_->open_for_reading(key_);
  } catch (const Failure&) {
    return {false, "", "the directory is gone"};
  }
  const auto registry = volume_->registry();
  const std::shared_lock lock(mutex_);
  for (const Identity& identity : identities_) {
    Validation validation = check(directory.get(), identity, look, registry.get());
    if (!validation.holds) return validation;
  }
  return {};
}

Validation InputSession::check(int directory, const Identity& then, Look look,
                               WriterRegistry* registry) {
  const auto changed = [&](std::string why) { return Validation{false, then.path, std::move(why)}; };
  Attributes now;
  int error = look_again(directory, then, now);
  if (then.kind == InputKind::Missing) {
    if (error == ENOENT || error == ENOTDIR) return {};
    return changed(error == 0 ? "appeared" : "cannot be looked at any more");
  }
  if (error == ENOENT || error == ENOTDIR) return changed("is gone");
  if (error != 0) return changed("cannot be looked at any more");

  Writers writers;
  if (registry != nullptr && then.kind == InputKind::File && same_inode(then, now)) {
    writers = registry->writers(now.dev, now.ino);
    if (writers.read_write_now > 0) {
      if (look == Look::Look) return changed("is open for reading and writing");
      registry->write_back(now.dev, now.ino);
      UniqueFd fd;
      if (open_beneath(directory, then.path, O_RDONLY | O_NONBLOCK, 0, fd) != 0 ||
          (write_dirty_pages(fd.get()), read_attributes(fd.get(), now)) != 0)
        return changed("cannot be looked at any more");
    }
  }
  const char* what = difference(then, now);
  if (what != nullptr) {
    const bool only_appended = look == Look::End && then.kind == InputKind::File &&
                               same_inode(then, now) && now.size > then.size &&
                               writers.appenders_ever > 0 && writers.read_write_now == 0 &&
                               writers.overwriters_ever == then.overwriters;
    if (!only_appended) return changed(what);
  }
  if (look == Look::End) return {};
  if (then.uncertain) return changed("may have changed unseen");
  // Only here do stores change no times at all; a mapping that came and went since the last look
  // without a write(2) stays unseen.
  const bool watched = registry != nullptr && registry->exclusive();
  if (volume_->on_tmpfs() && then.kind == InputKind::File && !watched) {
    UniqueFd fd;
    if (open_beneath(directory, then.path, O_RDONLY | O_NONBLOCK, 0, fd) != 0 ||
        has_writers(fd.get()))
      return changed("is open for writing, on a file system that does not tell of changes");
  }
  return {};
}

uint32_t InputSession::readable_mode(uint32_t gid) {
  uint32_t allowed = 0044;
  const UniqueFd directory = volume_->open_for_reading(key_);
  std::set<std::string> searched;
  const auto restrict_to = [&](const std::string& path, uint32_t wanted, bool of_gid) {
    UniqueFd fd;
    Attributes now;
    // Through a link: the directories on the real way are not looked at, so nobody else may.
    const int error = open_beneath(directory.get(), path, O_PATH, RESOLVE_NO_SYMLINKS, fd);
    if (error == ENOENT) return;
    if (error != 0 || read_attributes(fd.get(), now) != 0) {
      allowed = 0;
      return;
    }
    allowed &= open_for(now, wanted, gid, of_gid);
    // What named users and groups may is more than the mode bits tell.
    if (allowed != 0 && has_acl(fd.get())) allowed = 0;
  };
  const auto search = [&](const std::string& path) {
    if (searched.insert(path).second) restrict_to(path, kSearch, false);
  };
  search("");
  for (const Identity& identity : identities()) {
    if (allowed == 0) break;
    const std::string& path = identity.path;
    for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1))
      search(path.substr(0, at));
    switch (identity.kind) {
      case InputKind::File:
        restrict_to(path, kRead, true);
        break;
      case InputKind::Directory:
        restrict_to(path, kRead | kSearch, false);
        break;
      case InputKind::Attributes:
      case InputKind::Missing:
        break;  // whoever may search the directory sees as much
    }
  }
  return allowed;
}

}  // namespace insitu
