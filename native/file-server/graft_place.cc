// Where a graft goes, and whether its tree may be there.
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
  Descriptor top;
  if (request.tree == 0)
    top = session_.inodes().root()->descriptor();
  else if (const GraftPtr around = find(request.tree))
    top = around->root;
  if (!top) fail(ESTALE, "the graft that the point should stand in is gone");
  graft.parent =
      std::make_shared<const UniqueFd>(open_point_directory(top->get(), request.path));
  struct stat directory;
  for (;;) {
    if (::fstat(graft.parent->get(), &directory) < 0) fail(errno, request.path);
    // What is covered by a graft stands for that one's root.
    const GraftPtr other = covering(graft.parent_tree, directory.st_dev, directory.st_ino);
    if (!other) break;
    graft.parent_tree = other->tree->id;
    graft.parent_path.clear();
    graft.parent = top = other->root;
  }
  graft.parent_dev = directory.st_dev;
  graft.parent_ino = directory.st_ino;
  graft.ancestors = directories_up(graft.parent->get(), top->get());
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

Whereabouts GraftTable::check_overlap(int backing, const std::string& path) const {
  const auto mounts = mount_table();
  Whereabouts lies{extents_of(backing, *mounts), mounts->digest};
  const std::vector<Extent>& mine = lies.extents;
  const auto refuse = [&](const std::string& whose) {
    fail(EINVAL, "the backing of the graft, " + path + ", overlaps " + whose);
  };
  if (!session_.device_number().empty() &&
      overlap(mine, {whole_filesystem(session_.device_number())}))
    refuse("this mount itself");
  if (overlap(mine, extents_of(session_.inodes().root()->descriptor()->get(), *mounts)))
    refuse("the volume's, " + session_.options().backing);
  std::optional<uint32_t> other;
  {
    const std::lock_guard lock(places_mutex_);
    follow_mounts(*mounts);
    other = places_.overlapping(mine);
  }
  if (other) {
    const GraftPtr graft = find(*other);
    refuse("another graft's, " + (graft ? graft->backing : "gone meanwhile"));
  }
  return lies;
}

void GraftTable::follow_mounts(const MountTable& mounts) const {
  if (places_mounts_ == mounts.digest) return;
  for (const GraftPtr& graft : all()) {
    try {
      places_.insert(graft->tree->id, extents_of(graft->plain->get(), mounts));
    } catch (const std::system_error&) {
      // Its filesystem was unmounted under it: it still lies where it lay.
      places_.insert(graft->tree->id, graft->lies.extents);
    }
  }
  places_mounts_ = mounts.digest;
}

}  // namespace insitu
