#include "graft_way.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "open_beneath.h"
#include "session.h"

namespace insitu {

namespace {

// As deep as a path can be.
constexpr size_t kMaxParts = 2'048;

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

std::vector<std::string> parts_of(const std::string& at) {
  std::vector<std::string> out;
  for (size_t from = 0; from <= at.size();) {
    const size_t to = std::min(at.find('/', from), at.size());
    std::string part = at.substr(from, to - from);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string::npos ||
        part.size() > 255 || out.size() == kMaxParts)
      fail(EINVAL, "not a path that a graft can have");
    out.push_back(std::move(part));
    from = to + 1;
  }
  return out;
}

// Whoever owns the directory owns what is made in it, and is asked for permission: who put a
// directory of another's in its place meanwhile gains nothing by it.
class AsOwner {
 public:
  explicit AsOwner(const struct stat& directory)
      : gid_(static_cast<gid_t>(::setfsgid(directory.st_gid))),
        uid_(static_cast<uid_t>(::setfsuid(directory.st_uid))) {}
  ~AsOwner() {
    ::setfsuid(uid_);
    ::setfsgid(gid_);
  }
  AsOwner(const AsOwner&) = delete;
  AsOwner& operator=(const AsOwner&) = delete;

 private:
  const gid_t gid_;
  const uid_t uid_;
};

// O_PATH; -1 with errno.
UniqueFd open_child(int directory, const std::string& name) {
  UniqueFd fd;
  const int error = open_beneath(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW,
                                 RESOLVE_NO_SYMLINKS, fd);
  errno = error;
  return fd;
}

}  // namespace

GraftWay make_way(Session& session, const std::string& at) {
  std::vector<std::string> parts = parts_of(at);
  GraftWay way;
  way.name = std::move(parts.back());
  parts.pop_back();
  UniqueFd here(::openat(session.inodes().root()->descriptor()->get(), ".",
                         O_PATH | O_DIRECTORY | O_CLOEXEC));
  const VirtualLayer* const layer = session.virtual_layer();
  for (const std::string& part : parts) {
    if (layer && layer->is_reserved(part)) fail(EINVAL, "a reserved name: " + part);
    struct stat directory;
    if (!here || ::fstat(here.get(), &directory) < 0) fail(errno, way.path);
    if (const GraftPtr graft =
            session.grafts().at(way.tree, here.get(), directory, part)) {
      way.tree = graft->tree->id;
      way.path.clear();
      here = graft->root.open();
      continue;
    }
    UniqueFd next = open_child(here.get(), part);
    if (!next && errno == ENOENT) {
      {
        const AsOwner owner(directory);
        if (::mkdirat(here.get(), part.c_str(), 0755) < 0 && errno != EEXIST) fail(errno, part);
      }
      session.grafts().tell_kernel(way.tree, directory.st_dev, directory.st_ino, part);
      next = open_child(here.get(), part);
    }
    if (!next) fail(errno, part);
    if (!way.path.empty()) way.path += '/';
    way.path += part;
    here = std::move(next);
  }
  return way;
}

}  // namespace insitu
