#include "inode_table.h"

#include <fcntl.h>
#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>

#include "reopen.h"

namespace insitu {

namespace {

uint64_t next_stamp() {
  static std::atomic<uint64_t> clock = 0;
  return ++clock;
}

}  // namespace

Inode::Inode(InodeTable& table, uint64_t node, const struct stat& attributes, UniqueFd path)
    : table_(table),
      node_(node),
      dev_(attributes.st_dev),
      ino_(attributes.st_ino),
      type_(attributes.st_mode & S_IFMT),
      path_(std::make_shared<const UniqueFd>(std::move(path))) {}

Inode::~Inode() { table_.drop(*this); }

Descriptor Inode::descriptor() const { return table_.descriptor_of(*this); }

WriteActivity Inode::write_activity() const {
  return {writers_.load(), read_writers_.load(), last_writer_.load(), last_read_writer_.load(),
          last_appender_.load()};
}

void Inode::opened(int flags) {
  const int access = flags & O_ACCMODE;
  if (access == O_RDONLY) return;
  if (flags & O_APPEND) {
    last_appender_ = next_stamp();
  } else {
    ++writers_;
    last_writer_ = next_stamp();
  }
  if (access == O_RDWR) {
    ++read_writers_;
    last_read_writer_ = next_stamp();
  }
}

void Inode::released(int flags) {
  const int access = flags & O_ACCMODE;
  if (access == O_RDONLY) return;
  if (!(flags & O_APPEND)) --writers_;
  if (access == O_RDWR) --read_writers_;
}

void Inode::rewritten() { last_writer_ = next_stamp(); }

InodeTable::InodeTable(UniqueFd root, const struct stat& attributes, size_t descriptor_bound)
    : descriptor_bound_(descriptor_bound) {
  const FileIdentity identity = FileIdentity::of(root.get());
  if (!identity.empty()) {
    UniqueFd directory = reopen(root.get(), O_RDONLY | O_DIRECTORY);
    if (directory && identity.open(directory.get(), O_PATH)) {
      handle_root_ = std::move(directory);
      root_mount_ = identity.mount();
    }
  }
  root_ = std::make_shared<Inode>(*this, FUSE_ROOT_ID, attributes, std::move(root));
  root_->pinned_ = true;
  by_node_.emplace(root_->node(), root_);
  by_identity_.emplace(Identity{root_->dev(), root_->ino()}, root_);
}

InodePtr InodeTable::find(uint64_t node) const {
  const std::shared_lock lock(mutex_);
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : found->second;
}

InodePtr InodeTable::find(dev_t dev, ino_t ino) const {
  const std::shared_lock lock(mutex_);
  const auto found = by_identity_.find({dev, ino});
  return found == by_identity_.end() ? nullptr : found->second;
}

InodePtr InodeTable::remember(UniqueFd path, const struct stat& attributes) {
  std::vector<Descriptor> closing;  // after the locks are free
  InodePtr replaced;
  const std::unique_lock lock(mutex_);
  auto& inode = by_identity_[{attributes.st_dev, attributes.st_ino}];
  // Without a descriptor that holds it, an inode may be gone and its number used again.
  if (inode && !is_same(*inode, path.get())) replaced = std::move(inode);
  if (inode) {
    ++inode->lookups_;
    return inode;
  }
  inode = std::make_shared<Inode>(*this, next_node_++, attributes, std::move(path));
  inode->lookups_ = 1;
  by_node_.emplace(inode->node(), inode);
  const std::lock_guard descriptors_lock(descriptors_mutex_);
  adopt(*inode, inode->path_, closing);
  return inode;
}

void InodeTable::forget(uint64_t node, uint64_t lookups) {
  InodePtr last;  // its descriptor closes after the lock is free
  const std::unique_lock lock(mutex_);
  const auto found = by_node_.find(node);
  if (found == by_node_.end() || node == FUSE_ROOT_ID) return;
  last = found->second;
  last->lookups_ -= std::min(lookups, last->lookups_);
  if (last->lookups_ > 0) return;
  by_node_.erase(found);
  const auto identity = by_identity_.find({last->dev(), last->ino()});
  if (identity != by_identity_.end() && identity->second == last) by_identity_.erase(identity);
}

void InodeTable::retire(const InodePtr& inode) {
  const std::unique_lock lock(mutex_);
  const auto identity = by_identity_.find({inode->dev(), inode->ino()});
  if (identity != by_identity_.end() && identity->second == inode) by_identity_.erase(identity);
}

size_t InodeTable::size() const {
  const std::shared_lock lock(mutex_);
  return by_node_.size();
}

size_t InodeTable::descriptors() const {
  const std::lock_guard lock(descriptors_mutex_);
  return recent_.size();
}

void InodeTable::pin(const Inode& inode) {
  const Descriptor held = descriptor_of(inode);
  const std::lock_guard lock(descriptors_mutex_);
  if (inode.pinned_ || !held) return;
  if (handle_root_ && inode.path_) recent_.erase(inode.place_);
  inode.path_ = held;
  inode.pinned_ = true;
}

Descriptor InodeTable::descriptor_of(const Inode& inode) {
  std::vector<Descriptor> closing;
  {
    const std::lock_guard lock(descriptors_mutex_);
    if (inode.path_) {
      if (!inode.pinned_) recent_.splice(recent_.begin(), recent_, inode.place_);
      return inode.path_;
    }
  }
  // Nobody changes identity_ once it is set.
  auto opened = std::make_shared<const UniqueFd>(inode.identity_.open(handle_root_.get(), O_PATH));
  if (!*opened) return nullptr;
  const std::lock_guard lock(descriptors_mutex_);
  if (!inode.path_) adopt(inode, std::move(opened), closing);
  return inode.path_;
}

// Gives `inode` its descriptor, and takes those of others that were not used for longest. Called
// with descriptors_mutex_ held.
void InodeTable::adopt(const Inode& inode, Descriptor path, std::vector<Descriptor>& closing) {
  inode.path_ = std::move(path);
  if (inode.pinned_) return;
  if (!handle_root_) {
    inode.pinned_ = true;
    return;
  }
  inode.place_ = recent_.insert(recent_.begin(), &inode);
  while (recent_.size() > descriptor_bound_) {
    const Inode& oldest = *recent_.back();
    if (oldest.identity_.empty()) oldest.identity_ = FileIdentity::of(oldest.path_->get());
    recent_.pop_back();
    // Below another mount: its handles are of another filesystem.
    if (oldest.identity_.empty() || oldest.identity_.mount() != root_mount_) {
      oldest.pinned_ = true;
      continue;
    }
    closing.push_back(std::move(oldest.path_));
    oldest.path_ = nullptr;
    evicts_ = true;
  }
}

bool InodeTable::is_same(const Inode& inode, int path) {
  const std::lock_guard lock(descriptors_mutex_);
  return inode.path_ || inode.identity_ == FileIdentity::of(path);
}

void InodeTable::drop(const Inode& inode) {
  const std::lock_guard lock(descriptors_mutex_);
  if (inode.path_ && !inode.pinned_) recent_.erase(inode.place_);
}

}  // namespace insitu
