// How an inode is found again whose descriptor was given up, and by which it may be given up.

#include <fcntl.h>

#include <cerrno>

#include "identity.h"
#include "inode_table.h"

namespace insitu {

namespace {

// Directories that one look-up by path goes down: as deep as a tree that was walked can be in all
// practice. Deeper ones get ESTALE, and the kernel looks their names up anew.
constexpr size_t kMaxSteps = 4'096;

}  // namespace

// Whether the inode can be found again without its descriptor. Called with descriptors_mutex_ held.
bool InodeTable::give_up(const Inode& inode) {
  const int path = inode.path_->get();
  Filesystem& filesystem = *inode.filesystem_;
  if (filesystem.reach() == Filesystem::Reach::handles) {
    if (inode.identity_.empty()) inode.identity_ = FileIdentity::of(path);
    return filesystem.opens(inode.identity_, path, inode.is_directory());
  }
  Attributes now;
  if (!inode.place_ || read_attributes(path, now) != 0) return false;
  // Now, because a copy to an overlay's upper layer is born anew. Where there is no time of birth,
  // nothing tells a file from another one that has got its number.
  inode.place_->birth_ns = now.birth_ns;
  return now.birth_ns != 0;
}

void InodeTable::set_place(const Inode& inode, uint64_t parent, std::string_view name) {
  const std::lock_guard lock(descriptors_mutex_);
  if (!inode.place_) {
    inode.place_ = std::make_unique<Inode::Place>(Inode::Place{parent, std::string(name)});
  } else if (inode.place_->parent != parent || inode.place_->name != name) {
    inode.place_->parent = parent;
    inode.place_->name = name;
  }
}

void InodeTable::moved(const Inode& inode, const Inode& parent, std::string_view name) {
  if (inode.filesystem_->reach() == Filesystem::Reach::paths)
    set_place(inode, parent.node(), name);
}

// Walks from the nearest directory above that has a descriptor. A name that leads to another object
// by now, because somebody else renamed it, is ESTALE.
Descriptor InodeTable::reached_by_path(const Inode& inode) {
  struct Step {
    const Inode* inode;
    InodePtr held;
    std::string name;
    int64_t birth_ns;
  };
  std::vector<Step> steps;
  Descriptor directory;
  InodePtr held;
  for (const Inode* at = &inode; !directory;) {
    uint64_t parent = 0;
    {
      const std::lock_guard lock(descriptors_mutex_);
      directory = at->path_;
      if (!directory && at->place_) {
        parent = at->place_->parent;
        steps.push_back({at, held, at->place_->name, at->place_->birth_ns});
      }
    }
    if (directory) break;
    held = parent != 0 && steps.size() < kMaxSteps ? find(parent) : nullptr;
    at = held.get();
    if (!at) {
      errno = ESTALE;
      return nullptr;
    }
  }
  for (; !steps.empty(); steps.pop_back()) {
    const Step& step = steps.back();
    UniqueFd path(::openat(directory->get(), step.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    Attributes now;
    if (!path || read_attributes(path.get(), now) != 0 || now.dev != step.inode->dev() ||
        now.ino != step.inode->ino() || (now.mode & S_IFMT) != step.inode->type() ||
        now.birth_ns != step.birth_ns) {
      errno = ESTALE;
      return nullptr;
    }
    std::vector<Descriptor> closing;
    const std::lock_guard lock(descriptors_mutex_);
    if (!step.inode->path_)
      adopt(*step.inode, std::make_shared<const UniqueFd>(std::move(path)), closing);
    directory = step.inode->path_;
  }
  return directory;
}

std::vector<uint64_t> InodeTable::nodes_of(const Tree& tree) const {
  const std::shared_lock lock(mutex_);
  const auto found = grafted_.find(tree.id);
  if (found == grafted_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

void InodeTable::close_tree(const Tree& tree) {
  std::vector<Descriptor> closing;
  const std::unique_lock lock(mutex_);
  const auto first = filesystems_.lower_bound({tree.id, 0});
  auto last = first;
  for (; last != filesystems_.end() && last->first.first == tree.id; ++last) last->second->close();
  filesystems_.erase(first, last);
  numbers_.forget_tree(tree.id);
  const auto nodes = grafted_.find(tree.id);
  if (nodes == grafted_.end()) return;
  const std::lock_guard descriptors_lock(descriptors_mutex_);
  for (const uint64_t node : nodes->second) {
    const InodePtr& inode = by_node_.at(node);
    if (!inode->path_) continue;
    if (!inode->pinned_) recent_.erase(inode->recent_);
    closing.push_back(std::move(inode->path_));
    inode->path_ = nullptr;
  }
}

}  // namespace insitu
