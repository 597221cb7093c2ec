#include "graft_table.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include "attributes.h"
#include "graft_points.h"
#include "session.h"

namespace insitu {

namespace {

constexpr size_t kMaxGrafts = 1'024;  // each costs some descriptors
// Until requests under way are answered. Only one that hangs in the backing takes longer, and what
// it reads or writes was asked for before.
constexpr unsigned kUnderWayMs = 2'000;
// Until the kernel has dropped what it knows. Longer only behind something that hangs; everything is
// refused by then.
constexpr unsigned kSweepMs = 10'000;
constexpr unsigned kShownMs = 2'000;

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

Descriptor shared(UniqueFd fd) { return std::make_shared<const UniqueFd>(std::move(fd)); }

void check_name(const Session& session, const std::string& name) {
  if (!is_component(name) || name.size() > 255 || name.find('\0') != std::string::npos)
    fail(EINVAL, "not a name that a graft can have: " + name);
  const VirtualLayer* const layer = session.virtual_layer();
  if (layer && layer->is_reserved(name)) fail(EINVAL, "a reserved name: " + name);
}

}  // namespace

void GraftTable::place(Graft& graft, const GraftRequest& request,
                       const std::vector<GraftPtr>& others) const {
  graft.parent_tree = request.tree;
  graft.parent_path = request.path;
  graft.name = request.name;
  Descriptor top = request.tree == 0 ? session_.inodes().root()->descriptor() : nullptr;
  for (const GraftPtr& other : others)
    if (other->tree->id == request.tree) top = other->root;
  if (!top) fail(ESTALE, "the graft that the point should stand in is gone");
  graft.parent = shared(open_point_directory(top->get(), request.path));
  struct stat directory;
  // What is covered by a graft stands for that one's root. The younger one comes later.
  for (size_t i = 0; i <= others.size(); ++i) {
    if (::fstat(graft.parent->get(), &directory) < 0) fail(errno, request.path);
    if (i == others.size()) break;
    const Graft& other = *others[i];
    if (other.parent_tree != graft.parent_tree || other.stub_dev != directory.st_dev ||
        other.stub_ino != directory.st_ino)
      continue;
    graft.parent_tree = other.tree->id;
    graft.parent_path.clear();
    graft.parent = top = other.root;
  }
  graft.parent_dev = directory.st_dev;
  graft.parent_ino = directory.st_ino;
  graft.ancestors = directories_up(graft.parent->get(), top->get());
}

void GraftTable::check_overlap(int backing, const std::string& path,
                               const std::vector<GraftPtr>& others) const {
  const MountTable mounts = mount_table();
  const auto mine = extents_of(backing, mounts);
  const auto refuse_with = [&](const std::string& whose) {
    fail(EINVAL, "the backing of the graft, " + path + ", overlaps " + whose);
  };
  const auto refuse = [&](const std::vector<Extent>& theirs, const std::string& whose) {
    if (overlap(mine, theirs)) refuse_with(whose);
  };
  if (!session_.device_number().empty())
    refuse({whole_filesystem(session_.device_number())}, "this mount itself");
  refuse(extents_of(session_.inodes().root()->descriptor()->get(), mounts),
         "the volume's, " + session_.options().backing);
  for (const GraftPtr& other : others)
    if (overlap(mine, other->mounts == mounts.digest ? other->extents
                                                     : extents_of(other->plain->get(), mounts)))
      refuse_with("another graft's, " + other->backing);
}

// Everything that may take long: no other graft, and above all no revocation, waits for it.
std::shared_ptr<Graft> GraftTable::open_tree(const GraftRequest& request) const {
  UniqueFd backing(::open(request.backing.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!backing) fail(errno, "the backing of the graft, " + request.backing);
  if (!request.subpath.empty()) backing = open_point_directory(backing.get(), request.subpath);
  check_overlap(backing.get(), request.backing, all());

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
  UniqueFd clone = request.read_only ? read_only_clone(backing.get()) : UniqueFd{};
  const auto graft = std::make_shared<Graft>();
  graft->backing = request.backing;
  graft->identity = request.identity;
  graft->subpath = request.subpath;
  const MountTable mounts = mount_table();
  graft->mounts = mounts.digest;
  graft->extents = extents_of(backing.get(), mounts);
  graft->plain = shared(std::move(backing));
  graft->root = clone ? shared(std::move(clone)) : graft->plain;
  graft->tree = tree;
  return graft;
}

// The last step that can fail: the inode table knows the tree from here on.
void GraftTable::add(const std::shared_ptr<Graft>& graft) {
  struct stat root, stub;
  if (::fstat(graft->root->get(), &root) < 0 ||
      ::fstatat(graft->parent->get(), graft->name.c_str(), &stub, AT_SYMLINK_NOFOLLOW) < 0)
    fail(errno, graft->name);
  graft->stub_dev = stub.st_dev;
  graft->stub_ino = stub.st_ino;
  graft->filesystem = session_.inodes().filesystem(graft->tree, graft->root->get(), root);
  if (graft->tree->programs) session_.virtual_layer()->arrived(graft->tree, graft->root->get());
  any_ = true;
  insert(graft);
}

uint32_t GraftTable::graft(const GraftRequest& request) {
  check_name(session_, request.name);
  const auto graft = open_tree(request);
  const std::lock_guard changing(changing_);
  const std::vector<GraftPtr> others = all();
  if (others.size() >= kMaxGrafts) fail(ENOSPC, "too many grafts");
  place(*graft, request, others);
  for (const GraftPtr& other : others)
    if (graft->tree->programs && other->tree->key_prefix == graft->tree->key_prefix)
      fail(EEXIST, "a graft has this identity already: " + request.identity);
  // Again: others may have come meanwhile.
  check_overlap(graft->plain->get(), request.backing, others);
  {
    const std::shared_lock lock(mutex_);
    if (points_.contains({graft->parent_tree, graft->parent_dev, graft->parent_ino, graft->name}))
      fail(EEXIST, "a graft stands there already: " + request.name);
  }
  graft->made_stub = make_stub(graft->parent->get(), graft->name);
  graft->tree->id = ++last_;
  add(graft);
  tell_kernel(*graft);
  session_.notifier().drain(kShownMs);
  return graft->tree->id;
}

GraftPtr GraftTable::adopt(const GraftRequest& request, uint32_t id, bool made_stub) {
  const auto graft = open_tree(request);
  const std::lock_guard changing(changing_);
  graft->tree->id = id;
  place(*graft, request, all());
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
  ++covered_[{in, graft->stub_dev, graft->stub_ino}];
}

void GraftTable::erase(const Graft& graft) {
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
  release(covered_, {in, graft.stub_dev, graft.stub_ino});
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
  // With those that stand in it, inner ones last.
  std::vector<GraftPtr> going;
  for (const GraftPtr& one : all()) {
    const bool inside = std::ranges::any_of(
        going, [&](const GraftPtr& outer) { return outer->tree->id == one->parent_tree; });
    if (one->tree->id == id || inside) going.push_back(one);
  }
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
  for (const GraftPtr& one : going) one->tree->state = Tree::State::revoking;
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
  if (graft.made_stub) ::unlinkat(graft.parent->get(), graft.name.c_str(), AT_REMOVEDIR);
  // Nodes before the name: dropping that takes the directory's lock, which one of the tenant's may
  // hold for as long as it likes.
  session_.notifier().sweep(session_.inodes().nodes_of(tree));
  tell_kernel(graft);
  session_.notifier().drain(kSweepMs);
  tree.state = Tree::State::revoked;
  if (tree.programs) session_.virtual_layer()->left(tree);
  session_.files().remove_if(
      [&](const FileHandle& file) { return &file.inode().tree() == &tree; });
  session_.directories().remove_if(
      [&](const DirectoryHandle& directory) { return &directory.inode->tree() == &tree; });
  session_.inodes().close_tree(tree);
}

void GraftTable::end() {
  const std::lock_guard changing(changing_);
  // Inner points first: they are in trees that the outer ones show.
  const std::vector<GraftPtr> grafts = all();
  for (auto graft = grafts.rbegin(); graft != grafts.rend(); ++graft) {
    if ((*graft)->made_stub)
      ::unlinkat((*graft)->parent->get(), (*graft)->name.c_str(), AT_REMOVEDIR);
    erase(**graft);
  }
}

void GraftTable::leave() {
  const std::lock_guard changing(changing_);
  for (const GraftPtr& graft : all()) erase(*graft);
}

GraftPtr GraftTable::at(const Inode& parent, std::string_view name) const {
  if (!has_points(parent)) return nullptr;
  return at(parent.tree().id, parent.dev(), parent.ino(), name);
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
  const std::shared_lock lock(mutex_);
  const auto found = grafts_.find(directory.tree().id);
  if (found == grafts_.end()) return nullptr;
  struct stat root;
  if (::fstat(found->second->root->get(), &root) < 0 || root.st_ino != directory.ino() ||
      root.st_dev != directory.dev())
    return nullptr;
  return found->second;
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
  const std::shared_lock lock(mutex_);
  const auto found = grafts_.find(id);
  return found == grafts_.end() ? nullptr : found->second->tree;
}

std::vector<GraftPtr> GraftTable::all() const {
  std::vector<GraftPtr> out;
  const std::shared_lock lock(mutex_);
  for (const auto& [id, graft] : grafts_) out.push_back(graft);
  return out;
}

std::vector<GraftStatistics> GraftTable::statistics() const {
  std::vector<GraftStatistics> out;
  for (const GraftPtr& graft : all()) {
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

}  // namespace insitu
