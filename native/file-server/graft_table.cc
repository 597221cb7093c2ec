#include "graft_table.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include "../common/open_backing.h"
#include "attributes.h"
#include "graft_points.h"
#include "read_only_clones.h"
#include "session.h"

namespace insitu {

namespace {

// Each costs a few kilobytes.
constexpr size_t kMaxGrafts = 16'384;
// Of one where there are no file handles, or with programs.
constexpr rlim_t kDescriptorsOfGraft = 5;
// Until requests under way are answered. Only one that hangs in the backing takes longer, and what
// it reads or writes was asked for before.
constexpr unsigned kUnderWayMs = 2'000;
// Until the kernel has dropped what it knows. Longer only behind something that hangs; everything is
// refused by then.
constexpr unsigned kSweepMs = 10'000;

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

// Between two looks at the limit of descriptors.
constexpr size_t kRoomAt = 512;

// For that many grafts, as far as we may: beside them the daemon keeps what it was given.
void make_room(size_t grafts) {
  constexpr rlim_t others = 16'384;
  const rlim_t wanted = grafts * kDescriptorsOfGraft + others;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted) return;
  limit = {wanted, std::max(limit.rlim_max, wanted)};
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::vector<GraftStatistics> to_statistics(const std::vector<GraftPtr>& grafts) {
  std::vector<GraftStatistics> out;
  for (const GraftPtr& graft : grafts) {
    const Tree& tree = *graft->tree;
    out.push_back({tree.id,
                   graft->parent_path.empty() ? graft->name : graft->parent_path + "/" + graft->name,
                   graft->parent_tree,
                   graft->subpath.empty() ? graft->backing : graft->backing + "/" + graft->subpath,
                   tree.read_only, tree.revocable, tree.programs != nullptr, tree.nodes, tree.open,
                   tree.quota ? std::optional(tree.quota->limit()) : std::nullopt,
                   tree.quota ? tree.quota->used() : 0});
  }
  return out;
}

void remove_stub(const Graft& graft) {
  if (!graft.made_stub) return;
  if (const UniqueFd parent = graft.parent.open())
    ::unlinkat(parent.get(), graft.name.c_str(), AT_REMOVEDIR);
}

// One that is to be read-only is reached through a clone of the volume that is.
KeptDirectory root_of(const GraftRequest& request, const KeptDirectory& plain, int top,
                      int backing) {
  if (!request.read_only) return plain;
  if (plain.by_handle())
    if (MountAnchorPtr clone = ReadOnlyClones::of_process().of(top, *mount_table()))
      return plain.through(std::move(clone));
  UniqueFd own = read_only_clone(backing);
  return own ? KeptDirectory(std::move(own)) : plain;
}

void check_name(const Session& session, const std::string& name) {
  if (!is_component(name) || name.size() > 255 || name.find('\0') != std::string::npos)
    fail(EINVAL, "not a name that a graft can have: " + name);
  const VirtualLayer* const layer = session.virtual_layer();
  if (layer && layer->is_reserved(name)) fail(EINVAL, "a reserved name: " + name);
}

}  // namespace

// Everything that may take long: no other graft, and above all no revocation, waits for it.
std::shared_ptr<Graft> GraftTable::open_tree(const GraftRequest& request) const {
  const UniqueFd top = open_backing(request.backing);
  if (!top) fail(errno, "the backing of the graft, " + request.backing);
  const UniqueFd backing = open_point_directory(top.get(), request.subpath);
  Whereabouts lies = check_overlap(backing.get(), request.backing);
  struct stat root;
  if (::fstat(backing.get(), &root) < 0) fail(errno, request.backing);

  const auto tree = std::make_shared<Tree>();
  tree->read_only = request.read_only;
  tree->revocable = request.revocable;
  tree->times = kSharedTimes;
  describe(*tree, backing.get());
  if (session_.options().shared_backing) tree->closes_silently = false;
  // What the kernel does by itself can be neither taken back nor counted.
  if (request.revocable || request.quota_bytes) tree->may_pass = false;
  if (request.quota_bytes)
    tree->quota = std::make_unique<Quota>(*request.quota_bytes, occupied_bytes(backing.get()));
  if (VirtualLayer* const layer = session_.virtual_layer(); layer && request.compute)
    layer->prepare(*tree, backing.get(), request.backing, request.identity);
  const auto graft = std::make_shared<Graft>();
  graft->backing = request.backing;
  graft->identity = request.identity;
  graft->subpath = request.subpath;
  graft->dev = root.st_dev;
  graft->ino = root.st_ino;
  graft->lies = std::move(lies);
  graft->plain = KeptDirectory(UniqueFd(::fcntl(backing.get(), F_DUPFD_CLOEXEC, 0)));
  graft->root = root_of(request, graft->plain, top.get(), backing.get());
  graft->tree = tree;
  return graft;
}

// The last step that can fail: the inode table knows the tree from here on.
void GraftTable::add(const std::shared_ptr<Graft>& graft) {
  const UniqueFd here = graft->root.open();
  const UniqueFd parent = graft->parent.open();
  struct stat root, stub;
  if (!here || !parent || ::fstat(here.get(), &root) < 0 ||
      ::fstatat(parent.get(), graft->name.c_str(), &stub, AT_SYMLINK_NOFOLLOW) < 0)
    fail(errno, graft->name);
  graft->stub_dev = stub.st_dev;
  graft->stub_ino = stub.st_ino;
  graft->filesystem = session_.inodes().filesystem(graft->tree, here.get(), root);
  if (graft->tree->programs) session_.virtual_layer()->arrived(graft->tree, here.get());
  any_ = true;
  insert(graft);
  const std::lock_guard lock(places_mutex_);
  places_.insert(graft->tree->id, graft->lies.extents);
  // Something was mounted since it was looked at: all are looked at again.
  if (places_mounts_ != graft->lies.mounts) places_mounts_ = 0;
}

uint32_t GraftTable::graft(const GraftRequest& request) {
  check_name(session_, request.name);
  const auto graft = open_tree(request);
  const std::lock_guard changing(changing_);
  {
    const std::shared_lock lock(mutex_);
    if (grafts_.size() >= kMaxGrafts) fail(ENFILE, "too many grafts");
    if (graft->tree->programs && identities_.contains(graft->tree->key_prefix))
      fail(EEXIST, "a graft has this identity already: " + request.identity);
    if (grafts_.size() % kRoomAt == 0) make_room(grafts_.size() + kRoomAt);
  }
  place(*graft, request);
  // Again: others may have come meanwhile.
  const UniqueFd backing = graft->plain.open();
  if (!backing) fail(errno, request.backing);
  graft->lies = check_overlap(backing.get(), request.backing, std::move(graft->lies));
  {
    const std::shared_lock lock(mutex_);
    if (points_.contains({graft->parent_tree, graft->parent_dev, graft->parent_ino, graft->name}))
      fail(EEXIST, "a graft stands there already: " + request.name);
  }
  const UniqueFd parent = graft->parent.open();
  if (!parent) fail(errno, request.path);
  graft->made_stub = make_stub(parent.get(), graft->name);
  graft->tree->id = ++last_;
  try {
    add(graft);
  } catch (const std::system_error&) {
    remove_stub(*graft);
    throw;
  }
  tell_kernel(*graft);
  graft->told = session_.notifier().queued();
  return graft->tree->id;
}

bool GraftTable::is_shown(uint32_t id, unsigned timeout_ms) const {
  const GraftPtr graft = find(id);
  return graft && session_.notifier().wait_for(graft->told, timeout_ms);
}

GraftPtr GraftTable::adopt(const GraftRequest& request, uint32_t id, bool made_stub) {
  const auto graft = open_tree(request);
  const std::lock_guard changing(changing_);
  graft->tree->id = id;
  place(*graft, request);
  graft->made_stub = made_stub;
  add(graft);
  return graft;
}

void GraftTable::insert(const GraftPtr& graft) {
  const std::unique_lock lock(mutex_);
  const uint32_t in = graft->parent_tree;
  grafts_.emplace(graft->tree->id, graft);
  points_.emplace(Point{in, graft->parent_dev, graft->parent_ino, graft->name}, graft);
  ++parents_[{in, graft->parent_dev, graft->parent_ino}];
  for (const auto& [dev, ino] : graft->ancestors) ++ancestors_[{in, dev, ino}];
  covered_.insert_or_assign(Directory{in, graft->stub_dev, graft->stub_ino}, graft);
  if (graft->tree->programs) identities_.insert(graft->tree->key_prefix);
}

void GraftTable::erase(const Graft& graft) {
  {
    const std::lock_guard lock(places_mutex_);
    places_.erase(graft.tree->id);
  }
  const std::unique_lock lock(mutex_);
  const uint32_t in = graft.parent_tree;
  grafts_.erase(graft.tree->id);
  points_.erase(Point{in, graft.parent_dev, graft.parent_ino, graft.name});
  const auto release = [](std::map<Directory, unsigned>& counts, const Directory& directory) {
    const auto found = counts.find(directory);
    if (found != counts.end() && --found->second == 0) counts.erase(found);
  };
  release(parents_, {in, graft.parent_dev, graft.parent_ino});
  for (const auto& [dev, ino] : graft.ancestors) release(ancestors_, {in, dev, ino});
  covered_.erase({in, graft.stub_dev, graft.stub_ino});
  if (graft.tree->programs) identities_.erase(graft.tree->key_prefix);
}

// The name of the point, also where it was known not to be there, and the listing that it is in.
void GraftTable::tell_kernel(const Graft& graft) const {
  tell_kernel(graft.parent_tree, graft.parent_dev, graft.parent_ino, graft.name);
}

void GraftTable::tell_kernel(uint32_t tree, dev_t dev, ino_t ino, const std::string& name) const {
  const InodePtr parent = session_.inodes().find(tree, dev, ino);
  if (!parent) return;
  session_.notifier().invalidate_inode(parent->node());
  session_.notifier().invalidate_entry(parent->node(), name);
}

void GraftTable::revoke(uint32_t id) {
  const std::lock_guard changing(changing_);
  const std::vector<GraftPtr> going = with_inner(id);
  if (going.empty()) fail(ENOENT, "there is no such graft");
  const auto in_use = [](const GraftPtr& one) { return !one->tree->revocable && one->tree->open > 0; };
  const auto refuse_in_use = [&] {
    for (const GraftPtr& one : going) {
      if (!in_use(one)) continue;
      for (const GraftPtr& other : going) other->tree->state = Tree::State::live;
      fail(EBUSY, "the graft at " + one->name + " is not revocable, and files in it are open");
    }
  };
  refuse_in_use();
  for (const GraftPtr& one : going) {
    one->tree->state = Tree::State::revoking;
    one->tree->writes.open();  // whoever waits there is told
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kUnderWayMs);
  for (const GraftPtr& one : going)
    while (one->tree->under_way > 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  // Somebody may have opened one while we looked.
  refuse_in_use();
  for (auto one = going.rbegin(); one != going.rend(); ++one) detach(**one);
}

void GraftTable::detach(const Graft& graft) {
  Tree& tree = *graft.tree;
  erase(graft);
  // Nodes before the name: dropping that takes the directory's lock, which one of the tenant's may
  // hold for as long as it likes.
  session_.notifier().sweep(session_.inodes().nodes_of(tree));
  remove_stub(graft);
  tell_kernel(graft);
  session_.notifier().drain(kSweepMs);
  tree.state = Tree::State::revoked;
  if (tree.programs) session_.virtual_layer()->left(tree);
  if (tree.open > 0) {
    session_.files().remove_if(
        [&](const FileHandle& file) { return &file.inode().tree() == &tree; });
    session_.directories().remove_if(
        [&](const DirectoryHandle& directory) { return &directory.inode->tree() == &tree; });
  }
  session_.inodes().close_tree(tree);
}

void GraftTable::end() {
  const std::lock_guard changing(changing_);
  // Inner points first: they are in trees that the outer ones show.
  const std::vector<GraftPtr> grafts = all();
  for (auto graft = grafts.rbegin(); graft != grafts.rend(); ++graft) {
    remove_stub(**graft);
    erase(**graft);
  }
}

void GraftTable::leave() {
  const std::lock_guard changing(changing_);
  for (const GraftPtr& graft : all()) erase(*graft);
}

GraftPtr GraftTable::at(const Inode& parent, std::string_view name) const {
  if (!has_points(parent)) return nullptr;
  const GraftPtr found = at(parent.tree().id, parent.dev(), parent.ino(), name);
  if (!found) return nullptr;
  const Descriptor directory = parent.descriptor();
  return directory && found->parent.is(directory->get()) ? found : nullptr;
}

GraftPtr GraftTable::at(uint32_t tree, int directory, const struct stat& attributes,
                        std::string_view name) const {
  const GraftPtr found = at(tree, attributes.st_dev, attributes.st_ino, name);
  return found && found->parent.is(directory) ? found : nullptr;
}

GraftPtr GraftTable::at(uint32_t tree, dev_t dev, ino_t ino, std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto found = points_.find(Point{tree, dev, ino, std::string(name)});
  return found == points_.end() ? nullptr : found->second;
}

bool GraftTable::has_points(const Inode& directory) const {
  if (!any()) return false;
  const std::shared_lock lock(mutex_);
  return parents_.contains({directory.tree().id, directory.dev(), directory.ino()});
}

GraftPtr GraftTable::rooted_at(const Inode& directory) const {
  if (!any() || directory.tree().is_volume()) return nullptr;
  const GraftPtr found = find(directory.tree().id);
  return found && found->ino == directory.ino() && found->dev == directory.dev() ? found : nullptr;
}

bool GraftTable::is_ancestor(uint32_t tree, dev_t dev, ino_t ino) const {
  const std::shared_lock lock(mutex_);
  return ancestors_.contains({tree, dev, ino});
}

bool GraftTable::is_covered(uint32_t tree, dev_t dev, ino_t ino) const {
  if (!any()) return false;
  const std::shared_lock lock(mutex_);
  return covered_.contains({tree, dev, ino});
}

std::vector<std::string> GraftTable::points_in(uint32_t tree, dev_t dev, ino_t ino) const {
  std::vector<std::string> names;
  if (!any()) return names;
  const std::shared_lock lock(mutex_);
  if (!parents_.contains({tree, dev, ino})) return names;
  for (auto point = points_.lower_bound(Point{tree, dev, ino, ""}); point != points_.end(); ++point) {
    const auto& [of, of_dev, of_ino, name] = point->first;
    if (of != tree || of_dev != dev || of_ino != ino) break;
    names.push_back(name);
  }
  return names;
}

TreePtr GraftTable::tree(uint32_t id) const {
  const GraftPtr graft = find(id);
  return graft ? graft->tree : nullptr;
}

std::vector<GraftPtr> GraftTable::all() const {
  std::vector<GraftPtr> out;
  const std::shared_lock lock(mutex_);
  for (const auto& [id, graft] : grafts_) out.push_back(graft);
  return out;
}

GraftPtr GraftTable::find(uint32_t id) const {
  const std::shared_lock lock(mutex_);
  const auto found = grafts_.find(id);
  return found == grafts_.end() ? nullptr : found->second;
}

GraftPtr GraftTable::covering(uint32_t tree, dev_t dev, ino_t ino) const {
  const std::shared_lock lock(mutex_);
  const auto found = covered_.find({tree, dev, ino});
  return found == covered_.end() ? nullptr : found->second;
}

// Inner ones last.
std::vector<GraftPtr> GraftTable::with_inner(uint32_t id) const {
  std::vector<GraftPtr> out;
  const std::shared_lock lock(mutex_);
  if (const auto found = grafts_.find(id); found != grafts_.end()) out.push_back(found->second);
  for (size_t i = 0; i < out.size(); ++i) {
    const uint32_t in = out[i]->tree->id;
    for (auto point = points_.lower_bound(Point{in, 0, 0, ""});
         point != points_.end() && std::get<0>(point->first) == in; ++point)
      out.push_back(point->second);
  }
  return out;
}

std::vector<GraftStatistics> GraftTable::statistics() const { return to_statistics(all()); }

std::vector<GraftStatistics> GraftTable::statistics(uint32_t id) const {
  return to_statistics(with_inner(id));
}

}  // namespace insitu
