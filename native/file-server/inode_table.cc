#include "inode_table.h"

#include <fcntl.h>
#include <linux/fuse.h>

#include <mutex>

namespace insitu {

namespace {

uint64_t next_stamp() {
  static std::atomic<uint64_t> clock = 0;
  return ++clock;
}

}  // namespace

Inode::Inode(uint64_t node, const struct stat& attributes, UniqueFd path)
    : node_(node),
      dev_(attributes.st_dev),
      ino_(attributes.st_ino),
      type_(attributes.st_mode & S_IFMT),
      path_(std::make_shared<const UniqueFd>(std::move(path))) {}

WriteActivity Inode::write_activity() const {
  return {writers_.load(), read_writers_.load(), last_writer_.load(), last_read_writer_.load()};
}

void Inode::opened(int flags) {
  const int access = flags & O_ACCMODE;
  if (access == O_RDONLY) return;
  if (!(flags & O_APPEND)) {
    last_writer_ = next_stamp();
    ++writers_;
  }
  if (access == O_RDWR) {
    last_read_writer_ = next_stamp();
    ++read_writers_;
  }
}

void Inode::released(int flags) {
  const int access = flags & O_ACCMODE;
  if (access == O_RDONLY) return;
  if (!(flags & O_APPEND)) --writers_;
  if (access == O_RDWR) --read_writers_;
}

InodeTable::InodeTable(UniqueFd root, const struct stat& attributes)
    : root_(std::make_shared<Inode>(FUSE_ROOT_ID, attributes, std::move(root))) {
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
  const std::unique_lock lock(mutex_);
  auto& inode = by_identity_[{attributes.st_dev, attributes.st_ino}];
  if (!inode) {
    inode = std::make_shared<Inode>(next_node_++, attributes, std::move(path));
    by_node_.emplace(inode->node(), inode);
  }
  ++inode->lookups_;
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

size_t InodeTable::size() const {
  const std::shared_lock lock(mutex_);
  return by_node_.size();
}

}  // namespace insitu
