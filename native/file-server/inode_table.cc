#include "inode_table.h"

#include <fcntl.h>
#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>

#include "identity.h"

namespace insitu {

namespace {

// Longer ago than any clock's tick.
bool is_past(int64_t time_ns) {
  constexpr int64_t margin_ns = 1'000'000'000;
  return time_ns < wall_clock_ns() - margin_ns;
}

}  // namespace

uint64_t InodeTable::next_stamp() {
  static std::atomic<uint64_t> clock = 0;
  return ++clock;
}

Inode::Inode(InodeTable& table, uint64_t node, FilesystemPtr filesystem, ino_t ino, mode_t mode,
             UniqueFd path)
    : table_(table),
      node_(node),
      filesystem_(std::move(filesystem)),
      ino_(ino),
      type_(mode & S_IFMT),
      path_(path ? std::make_shared<const UniqueFd>(std::move(path)) : nullptr) {}

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
    last_appender_ = InodeTable::next_stamp();
  } else {
    ++writers_;
    last_writer_ = InodeTable::next_stamp();
  }
  if (access == O_RDWR) {
    ++read_writers_;
    last_read_writer_ = InodeTable::next_stamp();
  }
}

void Inode::released(int flags) {
  const int access = flags & O_ACCMODE;
  if (access == O_RDONLY) return;
  if (!(flags & O_APPEND)) --writers_;
  if (access == O_RDWR) --read_writers_;
}

void Inode::rewritten() { last_writer_ = InodeTable::next_stamp(); }

InodeTable::InodeTable(TreePtr volume, UniqueFd root, const struct stat& attributes,
                       size_t descriptor_bound)
    : descriptor_bound_(descriptor_bound) {
  const FilesystemPtr filesystem = std::make_shared<Filesystem>(
      std::move(volume), attributes.st_dev, uint16_t{0}, root.get(), true);
  filesystems_.emplace(std::pair{0u, attributes.st_dev}, filesystem);
  root_ = std::make_shared<Inode>(*this, FUSE_ROOT_ID, filesystem, attributes.st_ino,
                                  attributes.st_mode, std::move(root));
  root_->pinned_ = true;
  by_node_.emplace(root_->node(), root_);
  by_identity_.emplace(Identity{filesystem.get(), root_->ino()}, root_);
  ++filesystem->tree->nodes;
}

InodePtr InodeTable::find(uint64_t node) const {
  const std::shared_lock lock(mutex_);
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : found->second;
}

InodePtr InodeTable::find(dev_t dev, ino_t ino) const { return find(*root_, dev, ino); }

InodePtr InodeTable::find(const Inode& relative, dev_t dev, ino_t ino) const {
  if (dev != relative.dev()) return find(relative.tree().id, dev, ino);
  const std::shared_lock lock(mutex_);
  const auto found = by_identity_.find({&relative.filesystem(), ino});
  return found == by_identity_.end() ? nullptr : found->second;
}

InodePtr InodeTable::find(uint32_t tree, dev_t dev, ino_t ino) const {
  const std::shared_lock lock(mutex_);
  const auto filesystem = filesystems_.find({tree, dev});
  if (filesystem == filesystems_.end()) return nullptr;
  const auto found = by_identity_.find({filesystem->second.get(), ino});
  return found == by_identity_.end() ? nullptr : found->second;
}

FilesystemPtr InodeTable::filesystem(const TreePtr& tree, int path,
                                     const struct stat& attributes) {
  const std::unique_lock lock(mutex_);
  return filesystem_of(tree, path, attributes);
}

// Called with mutex_ held.
FilesystemPtr InodeTable::filesystem_of(const TreePtr& tree, int path,
                                        const struct stat& attributes) {
  FilesystemPtr& filesystem = filesystems_[{tree->id, attributes.st_dev}];
  if (!filesystem) {
    // The first of a graft is its root.
    const uint16_t mark = numbers_.mark_of(tree->id, attributes.st_dev,
                                           tree->is_volume() ? 0 : attributes.st_ino);
    filesystem = std::make_shared<Filesystem>(tree, attributes.st_dev, mark, path,
                                              S_ISDIR(attributes.st_mode));
  }
  return filesystem;
}

InodePtr InodeTable::remember(UniqueFd path, const FileStat& attributes, const Inode& parent,
                              std::string_view name) {
  std::vector<Descriptor> closing;  // after the locks are free
  // Beyond the bound each new descriptor takes the place of another, and soon gives up its own: what
  // the inode is found by then is asked for while no lock is held.
  FileIdentity handle;
  if (evicts_ && attributes.st_dev == parent.dev() &&
      parent.filesystem().reach() == Filesystem::Reach::handles)
    handle = FileIdentity::of(path.get());
  const std::unique_lock lock(mutex_);
  const FilesystemPtr filesystem =
      attributes.st_dev == parent.dev()
          ? parent.filesystem_
          : filesystem_of(parent.filesystem_->tree, path.get(), attributes);
  InodePtr inode =
      remember_locked(std::move(path), std::move(handle), attributes, filesystem, closing);
  if (filesystem->reach() == Filesystem::Reach::paths && !name.empty())
    set_place(*inode, parent.node(), name);
  return inode;
}

InodePtr InodeTable::remember(UniqueFd path, const FileStat& attributes,
                              const FilesystemPtr& filesystem) {
  std::vector<Descriptor> closing;
  const std::unique_lock lock(mutex_);
  return remember_locked(std::move(path), {}, attributes, filesystem, closing);
}

// Called with mutex_ held.
void InodeTable::add(const InodePtr& inode) {
  by_node_.emplace(inode->node(), inode);
  Tree& tree = inode->tree();
  if (!tree.is_volume()) grafted_[tree.id].insert(inode->node());
  ++tree.nodes;
}

InodePtr InodeTable::remember_locked(UniqueFd path, FileIdentity handle,
                                     const FileStat& attributes, const FilesystemPtr& filesystem,
                                     std::vector<Descriptor>& closing) {
  auto& inode = by_identity_[{filesystem.get(), attributes.st_ino}];
  // Without a descriptor that holds it, an inode may be gone and its number used again.
  if (inode && !is_same(*inode, path.get(), handle)) inode = nullptr;
  if (inode) {
    ++inode->lookups_;
    const std::lock_guard descriptors_lock(descriptors_mutex_);
    learn_birth(*inode, attributes);
    return inode;
  }
  inode = std::make_shared<Inode>(*this, next_node_++, filesystem, attributes.st_ino,
                                  attributes.st_mode, std::move(path));
  inode->lookups_ = 1;
  add(inode);
  const std::lock_guard descriptors_lock(descriptors_mutex_);
  // Without a name nothing opens it again.
  inode->pinned_ = attributes.st_nlink == 0;
  inode->identity_ = std::move(handle);
  learn_birth(*inode, attributes);
  adopt(*inode, inode->path_, closing);
  return inode;
}

InodePtr InodeTable::recognize(const FileStat& attributes, const Inode& parent,
                               std::string_view name) {
  if (attributes.birth_ns == 0 || attributes.st_dev != parent.dev()) return nullptr;
  const std::shared_lock lock(mutex_);
  const auto found = by_identity_.find({&parent.filesystem(), attributes.st_ino});
  if (found == by_identity_.end()) return nullptr;
  const InodePtr& inode = found->second;
  if (inode->type() != (attributes.st_mode & S_IFMT)) return nullptr;
  {
    const std::lock_guard descriptors_lock(descriptors_mutex_);
    if (inode->birth_ns_ != attributes.birth_ns) return nullptr;
  }
  ++inode->lookups_;
  if (parent.filesystem().reach() == Filesystem::Reach::paths) set_place(*inode, parent.node(), name);
  return inode;
}

// An inode number that is used again has another time of birth, unless all that happened within one
// tick of the clock: the object must have been held for longer than that, or be older. With
// descriptors_mutex_ held, of an inode that certainly is the one with these attributes.
void InodeTable::learn_birth(const Inode& inode, const FileStat& attributes) {
  if (inode.path_ || is_past(attributes.birth_ns)) inode.birth_ns_ = attributes.birth_ns;
}

void InodeTable::forget(uint64_t node, uint64_t lookups) {
  InodePtr last;  // its descriptor closes after the lock is free
  const std::unique_lock lock(mutex_);
  const auto found = by_node_.find(node);
  if (found == by_node_.end() || node == FUSE_ROOT_ID) return;
  last = found->second;
  last->lookups_ -= std::min(lookups, last->lookups_.load());
  if (last->lookups_ > 0) return;
  by_node_.erase(found);
  const FilesystemPtr& filesystem = last->filesystem_;
  if (const auto in = grafted_.find(filesystem->tree->id); in != grafted_.end()) {
    in->second.erase(node);
    if (in->second.empty()) grafted_.erase(in);
  }
  --filesystem->tree->nodes;
  const auto identity = by_identity_.find({filesystem.get(), last->ino()});
  if (identity != by_identity_.end() && identity->second == last) by_identity_.erase(identity);
  // So that what was mounted below, and is not looked at any more, can be unmounted.
  if (filesystem.use_count() == 2) filesystems_.erase({filesystem->tree->id, filesystem->dev});
}

void InodeTable::retire(const InodePtr& inode) {
  const std::unique_lock lock(mutex_);
  const auto identity = by_identity_.find({inode->filesystem_.get(), inode->ino()});
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
  if (inode.path_) recent_.erase(inode.recent_);
  inode.path_ = held;
  inode.pinned_ = true;
}

Descriptor InodeTable::descriptor_of(const Inode& inode) {
  {
    const std::lock_guard lock(descriptors_mutex_);
    if (inode.path_) {
      if (!inode.pinned_) recent_.splice(recent_.begin(), recent_, inode.recent_);
      return inode.path_;
    }
  }
  if (inode.tree().gone()) {
    errno = ESTALE;
    return nullptr;
  }
  // Nobody changes identity_ once path_ was given up.
  if (inode.identity_.empty()) return reached_by_path(inode);
  auto opened = std::make_shared<const UniqueFd>(inode.filesystem().open(inode.identity_));
  if (!*opened) return nullptr;
  std::vector<Descriptor> closing;
  const std::lock_guard lock(descriptors_mutex_);
  if (!inode.path_) adopt(inode, std::move(opened), closing);
  return inode.path_;
}

// Gives `inode` its descriptor, and takes those of others that were not used for longest. Called
// with descriptors_mutex_ held.
void InodeTable::adopt(const Inode& inode, Descriptor path, std::vector<Descriptor>& closing) {
  inode.path_ = std::move(path);
  if (inode.pinned_) return;
  inode.recent_ = recent_.insert(recent_.begin(), &inode);
  while (recent_.size() > descriptor_bound_) {
    const Inode& oldest = *recent_.back();
    recent_.pop_back();
    if (!give_up(oldest)) {
      oldest.pinned_ = true;
      continue;
    }
    closing.push_back(std::move(oldest.path_));
    oldest.path_ = nullptr;
    if (!is_past(oldest.birth_ns_)) oldest.birth_ns_ = 0;
    evicts_ = true;
  }
}

bool InodeTable::is_same(const Inode& inode, int path, const FileIdentity& handle) {
  const std::lock_guard lock(descriptors_mutex_);
  if (inode.path_) return true;
  if (!inode.identity_.empty())
    return inode.identity_ == (handle.empty() ? FileIdentity::of(path) : handle);
  Attributes now;
  return inode.place_ && read_attributes(path, now) == 0 && now.birth_ns == inode.place_->birth_ns;
}

void InodeTable::drop(const Inode& inode) {
  const std::lock_guard lock(descriptors_mutex_);
  if (inode.path_ && !inode.pinned_) recent_.erase(inode.recent_);
}

}  // namespace insitu
