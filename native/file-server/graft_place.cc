// Where a graft goes, and whether its tree may be there.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "graft_points.h"
#include "graft_table.h"
#include "session.h"

namespace insitu {

namespace {

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

void GraftTable::place(Graft& graft, const GraftRequest& request) const {
  graft.parent_tree = request.tree;
  graft.parent_path = request.path;
  graft.name = request.name;
  UniqueFd top;
  if (request.tree == 0)
    top.reset(::fcntl(session_.inodes().root()->descriptor()->get(), F_DUPFD_CLOEXEC, 0));
  else if (const GraftPtr around = find(request.tree))
    top = around->root.open();
  if (!top) fail(ESTALE, "the graft that the point should stand in is gone");
  UniqueFd parent = open_point_directory(top.get(), request.path);
  struct stat directory;
  for (;;) {
    if (::fstat(parent.get(), &directory) < 0) fail(errno, request.path);
    // What is covered by a graft stands for that one's root.
    const GraftPtr other = covering(graft.parent_tree, directory.st_dev, directory.st_ino);
    if (!other) break;
    graft.parent_tree = other->tree->id;
    graft.parent_path.clear();
    top = other->root.open();
    parent = other->root.open();
    if (!top || !parent) fail(errno, request.path);
  }
  graft.parent_dev = directory.st_dev;
  graft.parent_ino = directory.st_ino;
  graft.ancestors = directories_up(parent.get(), top.get());
  graft.parent = KeptDirectory(std::move(parent));
  if (graft.parent.by_handle()) return;
  // Many grafts may stand in one directory.
  const std::shared_lock lock(mutex_);
  const auto sibling =
      points_.lower_bound(Point{graft.parent_tree, directory.st_dev, directory.st_ino, ""});
  if (sibling == points_.end()) return;
  const Graft& beside = *sibling->second;
  if (beside.parent_tree == graft.parent_tree && beside.parent_dev == graft.parent_dev &&
      beside.parent_ino == graft.parent_ino)
    graft.parent = beside.parent;
}

Whereabouts GraftTable::check_overlap(int backing, const std::string& path,
                                      Whereabouts before) const {
  const auto mounts = mount_table();
  const Whereabouts lies = before.mounts == mounts->digest
                               ? std::move(before)
                               : Whereabouts{extents_of(backing, *mounts), mounts->digest};
  const std::vector<Extent>& mine = lies.extents;
  const auto refuse = [&](const std::string& whose) {
    fail(EINVAL, "the backing of the graft, " + path + ", overlaps " + whose);
  };
  if (!session_.device_number().empty() &&
      overlap(mine, {whole_filesystem(session_.device_number())}))
    refuse("this mount itself");
  std::optional<uint32_t> other;
  bool with_own = false;
  {
    const std::lock_guard lock(places_mutex_);
    follow_mounts(*mounts);
    with_own = overlap(mine, own_place_);
    other = places_.overlapping(mine);
  }
  if (with_own) refuse("the volume's, " + session_.options().backing);
  if (other) {
    const GraftPtr graft = find(*other);
    refuse("another graft's, " + (graft ? graft->backing : "gone meanwhile"));
  }
  return lies;
}

void GraftTable::follow_mounts(const MountTable& mounts) const {
  if (places_mounts_ == mounts.digest) return;
  own_place_ = extents_of(session_.inodes().root()->descriptor()->get(), mounts);
  for (const GraftPtr& graft : all()) {
    try {
      places_.insert(graft->tree->id, extents_of(graft->plain.open().get(), mounts));
    } catch (const std::system_error&) {
      // It was removed, or its filesystem unmounted under it: it still lies where it lay.
      places_.insert(graft->tree->id, graft->lies.extents);
    }
  }
  places_mounts_ = mounts.digest;
}

}  // namespace insitu
