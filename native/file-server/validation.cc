// The half of InputSession that looks again at what a run saw.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

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
// other counts only what the group has too (a member of the group is never "other"). What is open to
// all is open to the members of `gid`, whosever group it has.
uint32_t open_for(const Attributes& attributes, uint32_t wanted, uint32_t gid) {
  const uint32_t mode = attributes.mode;
  const bool group = (mode >> 3 & wanted) == wanted;
  const bool other = group && (mode & wanted) == wanted;
  return (other || (group && attributes.gid == gid) ? 0040u : 0u) | (other ? 0004u : 0u);
}

constexpr uint32_t kRead = 04, kSearch = 01;

// Directories that are held open on the way to an input; what lies deeper is its owner's alone.
constexpr size_t kMaxDepth = 64;

}  // namespace

std::shared_ptr<const UniqueFd> InputSession::directory() {
  std::shared_ptr<const UniqueFd> held;
  {
    const std::lock_guard lock(held_mutex_);
    held = held_;
  }
  if (volume_->is_closed()) throw Failure(ESTALE, "the tree was taken out of the mount");
  if (!held) return std::make_shared<const UniqueFd>(volume_->open_for_reading(key_));
  Attributes attributes;
  if (read_attributes(held->get(), attributes) != 0 || attributes.nlink == 0)
    throw Failure(ESTALE, "the directory is gone");
  return held;
}

void InputSession::hold() {
  const std::lock_guard lock(held_mutex_);
  // A path is to be verified each time, so there a descriptor would not do.
  if (++holders_ > 1 || !volume_->has_handles()) return;
  try {
    held_ = std::make_shared<const UniqueFd>(volume_->open_for_reading(key_));
  } catch (const Failure&) {
    // The next look says so.
  }
}

void InputSession::release() {
  const std::lock_guard lock(held_mutex_);
  if (--holders_ == 0) held_ = nullptr;
}

Validation InputSession::validate(Look look) {
  std::shared_ptr<const UniqueFd> directory;
  try {
    directory = this->directory();
  } catch (const Failure&) {
    return {false, "",
            volume_->is_closed() ? "the tree was taken out of the mount" : "the directory is gone"};
  }
  const auto registry = volume_->registry();
  const std::shared_lock lock(mutex_);
  for (const Identity& identity : identities_) {
    Validation validation = check(directory->get(), identity, look, registry.get());
    if (!validation.holds) return validation;
  }
  if (look == Look::End) return {};
  for (const Way& way : ways_) {
    Validation validation = check_way(directory->get(), way);
    if (!validation.holds) return validation;
  }
  return {};
}

// Entries that come and go in it move its times, and matter to nobody.
Validation InputSession::check_way(int directory, const Way& then) {
  const auto changed = [&](const char* why) { return Validation{false, then.path, why}; };
  UniqueFd fd;
  Attributes now;
  if (open_beneath(directory, then.path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, fd) != 0 ||
      read_attributes(fd.get(), now) != 0)
    return changed("cannot be looked at any more");
  const Attributes& before = then.attributes;
  if (now.dev != before.dev || now.ino != before.ino || now.birth_ns != before.birth_ns)
    return changed("was replaced");
  const bool same = now.mode == before.mode && now.uid == before.uid && now.gid == before.gid;
  if (!same || (now.ctime_ns != before.ctime_ns && has_acl(fd.get())))
    return changed("lets others search it than before");
  return {};
}

Validation InputSession::check(int directory, const Identity& then, Look look,
                               WriterRegistry* registry) {
  const auto changed = [&](std::string why) { return Validation{false, then.path, std::move(why)}; };
  Attributes now;
  int error = look_again(directory, then, now);
  const bool covered = error == 0 && registry != nullptr && S_ISDIR(now.mode) &&
                       !then.path.empty() && registry->is_covered(now.dev, now.ino);
  if (then.kind == InputKind::Missing) {
    if (error == ENOENT || error == ENOTDIR || covered) return {};
    return changed(error == 0 ? "appeared" : "cannot be looked at any more");
  }
  if (error == ENOENT || error == ENOTDIR) return changed("is gone");
  if (error != 0 || covered) return changed("cannot be looked at any more");
  if (then.kind == InputKind::Directory) {
    const auto points = registry ? registry->points_in(now.dev, now.ino) : std::vector<std::string>{};
    if (digest(points) != then.points) return changed("has other grafts in it");
  }

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

// Each input is looked at by a walk of its own from the program's directory, through descriptors, and
// has to be what the run saw: who may rename things there cannot put something more open in the
// place of a secret for the moment of this look.
uint32_t InputSession::readable_mode(uint32_t gid) {
  uint32_t allowed = 0044;
  const auto restrict_to = [&](int fd, const Attributes& now, uint32_t wanted) {
    allowed &= open_for(now, wanted, gid);
    // What named users and groups may is more than the mode bits tell.
    if (allowed != 0 && has_acl(fd)) allowed = 0;
  };

  const UniqueFd directory = volume_->open_for_reading(key_);
  Attributes attributes;
  if (read_attributes(directory.get(), attributes) != 0) return 0;
  restrict_to(directory.get(), attributes, kSearch);

  // The directories on the way to the input before, since most share theirs.
  struct Step {
    std::string name;
    UniqueFd fd;
  };
  std::vector<Step> way;
  std::vector<Way> ways;
  for (const Identity& identity : identities()) {
    if (allowed == 0) break;
    std::string_view rest = identity.path;
    size_t depth = 0;
    int parent = directory.get();
    int error = 0;
    for (size_t end; error == 0 && (end = rest.find('/')) != std::string_view::npos; ++depth) {
      const std::string name(rest.substr(0, end));
      rest.remove_prefix(end + 1);
      if (depth >= way.size() || way[depth].name != name) {
        way.resize(depth);
        UniqueFd fd;
        error = depth == kMaxDepth ? ELOOP
                                   : open_beneath(parent, name, O_PATH | O_DIRECTORY,
                                                  RESOLVE_NO_SYMLINKS, fd);
        if (error == 0) error = read_attributes(fd.get(), attributes);
        if (error != 0) break;
        restrict_to(fd.get(), attributes, kSearch);
        way.push_back({name, std::move(fd)});
        ways.push_back({identity.path.substr(0, identity.path.size() - rest.size() - 1), attributes});
      }
      parent = way[depth].fd.get();
    }
    UniqueFd found;
    if (error == 0) error = open_beneath(parent, std::string(rest), O_PATH | O_NOFOLLOW, 0, found);
    if (error == 0) error = read_attributes(found.get(), attributes);
    const bool missing = error == ENOENT || error == ENOTDIR;
    if (identity.kind == InputKind::Missing) {
      // Whoever may search the directories sees as much; a link may lead past them.
      if (!missing && (error != 0 || S_ISLNK(attributes.mode))) allowed = 0;
    } else if (error != 0 || !same_inode(identity, attributes)) {
      // Gone, replaced, or seen through a link: the directories on its real way are not known.
      allowed = 0;
    } else if (identity.kind == InputKind::File) {
      restrict_to(found.get(), attributes, kRead);
    } else if (identity.kind == InputKind::Directory) {
      restrict_to(found.get(), attributes, kRead | kSearch);
    }
  }
  if (allowed == 0) ways.clear();
  std::ranges::sort(ways, {}, &Way::path);
  const auto same = [](const Way& one, const Way& other) { return one.path == other.path; };
  ways.erase(std::unique(ways.begin(), ways.end(), same), ways.end());
  const std::lock_guard lock(mutex_);
  ways_ = std::move(ways);
  return allowed;
}

}  // namespace insitu
