// Which tree a directory with virtual files is in. Keys begin with what names the tree (Tree::key_prefix),
// so that two directories never have the same one, whatever their filesystems call them.
#include <cerrno>
#include <string>
#include <system_error>

#include "../common/failure.h"
#include "mount_writers.h"
#include "session.h"
#include "virtual_files.h"

namespace insitu {
namespace {

// One notice for each name, as long as there are not too many.
constexpr size_t kMaxNoticed = 1'024;

// `g:IDENTITY:FINGERPRINT:` of a key in a graft; empty for one in the volume.
std::string prefix_of(const std::string& key) {
  if (!key.starts_with("g:")) return {};
  const size_t identity = key.find(':', 2);
  const size_t end = identity == std::string::npos ? identity : key.find(':', identity + 1);
  if (end == std::string::npos) throw Failure(EINVAL, "not a directory key");
  return key.substr(0, end + 1);
}

}  // namespace

void VirtualFiles::attach(const std::shared_ptr<Session>& session) {
  session_ = session.get();
  shared_session_ = session;
}

Volume& VirtualFiles::volume_of(const Tree& tree) const {
  if (tree.is_volume()) return *volume_;
  if (!tree.programs) throw Failure(EACCES, "the graft is granted without programs");
  return *tree.programs;
}

std::string VirtualFiles::key_of(const Inode& directory) const {
  const Descriptor fd = directory.descriptor();
  if (!fd) throw Failure(errno, "the directory cannot be opened");
  const Tree& tree = directory.tree();
  return tree.key_prefix + volume_of(tree).key_of(fd->get());
}

VirtualFiles::Place VirtualFiles::place(const std::string& key) const {
  const std::string prefix = prefix_of(key);
  if (prefix.empty()) {
    const Attributes now = volume_->stat(key);
    return {0, now.dev, now.ino};
  }
  TreePtr tree;
  {
    const std::lock_guard lock(mutex_);
    const auto found = trees_.find(prefix);
    if (found != trees_.end()) tree = found->second;
  }
  if (!tree) throw Failure(ESTALE, "the graft is gone");
  // Known already, nearly always: this comes from the event loop, and the backing may hang.
  const auto [dev, ino] = tree->programs->place(key.substr(prefix.size()));
  return {tree->id, dev, ino};
}

void VirtualFiles::prepare(Tree& tree, int root, const std::string& backing,
                           const std::string& identity) {
  tree.programs = std::make_shared<Volume>(root, backing, volume_->max_inputs());
  if (tree.read_only) tree.programs->serve_read_only();
  tree.key_prefix = "g:" + identity + ":" + tree.programs->fingerprint() + ":";
}

void VirtualFiles::arrived(const TreePtr& tree, int root) {
  tree->programs->seen_through(root);
  if (const auto session = shared_session_.lock())
    tree->programs->serve(std::make_shared<MountWriters>(session, *tree));
  const std::lock_guard lock(mutex_);
  trees_.insert_or_assign(tree->key_prefix, tree);
}

void VirtualFiles::left(const Tree& tree) {
  {
    const std::lock_guard lock(mutex_);
    trees_.erase(tree.key_prefix);
  }
  // Those who wait are told by TypeScript, which hears of it as well.
  for (const ProgramPtr& program : programs_.remove_tree(tree.id))
    result_files_.forget(program->key, 0);
  nodes_.retire(tree);
  tree.programs->close();
}

void VirtualFiles::notice(Upcall::Op op, const Inode& directory, std::string_view name) {
  const std::string text(name);
  {
    const std::lock_guard lock(mutex_);
    if (noticed_.size() >= kMaxNoticed ||
        !noticed_.emplace(directory.tree().id, directory.ino(), text).second)
      return;
  }
  std::string where;
  uint32_t tree = directory.tree().id;
  const auto grafts = session_->grafts().statistics();
  // Inner ones come later.
  for (auto graft = grafts.rbegin(); graft != grafts.rend(); ++graft) {
    if (graft->id != tree) continue;
    where = where.empty() ? graft->path : graft->path + "/" + where;
    tree = graft->parent;
  }
  // Where programs are allowed there is a path below the tree's root, too.
  if (directory.tree().is_volume() || directory.tree().programs) {
    const Descriptor fd = directory.descriptor();
    Volume& volume = volume_of(directory.tree());
    const std::string below = fd ? volume.path_of(volume.key_of(fd->get())).value_or("") : "";
    where += where.empty() || below.empty() ? below : "/" + below;
  }
  auto call = std::make_unique<Upcall>();
  call->op = op;
  call->key = where.empty() ? text : where + "/" + text;
  upcalls_.tell(std::move(call));
}

void VirtualFiles::not_granted(const Inode& directory) {
  notice(Upcall::Op::compute_not_granted, directory, names_.compute);
}

}  // namespace insitu
