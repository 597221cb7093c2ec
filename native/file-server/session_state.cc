#include "session_state.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>
#include <type_traits>

#include "identity.h"
#include "session.h"

namespace insitu {

namespace {

constexpr uint64_t kVersion = 0x696e736974750002;  // "insitu", 2

class Writer {
 public:
  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void operator()(const T& value) {
    append(&value, sizeof value);
  }
  void block(const void* data, size_t size) {
    (*this)(uint64_t{size});
    append(data, size);
  }
  void operator()(const std::string& text) { block(text.data(), text.size()); }
  void operator()(const std::vector<std::byte>& data) { block(data.data(), data.size()); }
  template <class Record, class Each>
  void list(const std::vector<Record>& records, Each each) {
    (*this)(uint64_t{records.size()});
    for (const Record& record : records) each(record);
  }

  std::vector<std::byte> bytes;

 private:
  void append(const void* data, size_t size) {
    if (size == 0) return;
    const size_t end = bytes.size();
    bytes.resize(end + size);
    std::memcpy(bytes.data() + end, data, size);
  }
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> from) : rest(from) {}
  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void operator()(T& value) {
    if (rest.size() < sizeof value) return fail();
    std::memcpy(&value, rest.data(), sizeof value);
    rest = rest.subspan(sizeof value);
  }
  std::span<const std::byte> block() {
    uint64_t size = 0;
    (*this)(size);
    if (size > rest.size()) {
      fail();
      return {};
    }
    const auto out = rest.first(size);
    rest = rest.subspan(size);
    return out;
  }
  void operator()(std::string& text) {
    const auto bytes = block();
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void operator()(std::vector<std::byte>& data) {
    const auto bytes = block();
    data.assign(bytes.begin(), bytes.end());
  }
  template <class Record, class Each>
  void list(std::vector<Record>& records, Each each) {
    uint64_t count = 0;
    (*this)(count);
    // No record is smaller than a byte.
    if (count > rest.size()) return fail();
    for (; count > 0 && !failed; --count) each(records.emplace_back());
  }
  void fail() {
    failed = true;
    rest = {};
  }

  std::span<const std::byte> rest;
  bool failed = false;
};

// One description of the format for both directions.
template <class Archive, class State>
void archive(Archive& io, State& state) {
  auto& negotiated = state.negotiated;
  io(negotiated.minor), io(negotiated.flags), io(negotiated.max_write_bytes);
  io(negotiated.passthrough), io(negotiated.passthrough_reason);
  io(state.next_node), io(state.last_file), io(state.last_directory), io(state.last_graft);
  io.list(state.grafts, [&](auto& graft) {
    auto& request = graft.request;
    // An optional number as two.
    bool limited = request.quota_bytes.has_value();
    uint64_t quota_bytes = request.quota_bytes.value_or(0);
    io(graft.id), io(graft.made_stub), io(request.tree), io(request.path), io(request.name);
    io(request.backing), io(request.subpath), io(request.read_only), io(request.revocable);
    io(request.compute), io(request.identity);
    io(limited), io(quota_bytes);
    if constexpr (std::is_same_v<Archive, Reader>)
      if (limited) request.quota_bytes = quota_bytes;
  });
  io.list(state.filesystems, [&](auto& filesystem) {
    io(filesystem.tree), io(filesystem.dev), io(filesystem.mark), io(filesystem.directory);
  });
  io.list(state.nodes, [&](auto& node) {
    io(node.node), io(node.lookups), io(node.tree), io(node.dev), io(node.ino), io(node.type);
    io(node.activity), io(node.backing_id), io(node.handle), io(node.parent), io(node.name);
    io(node.birth_ns), io(node.descriptor);
  });
  io.list(state.handles, [&](auto& handle) {
    io(handle.number), io(handle.node), io(handle.is_directory), io(handle.flags);
    io(handle.mode), io(handle.uid), io(handle.descriptor);
  });
}

UniqueFd copy_of(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

int32_t keep(SessionState& state, int fd) {
  if (fd < 0) return -1;
  UniqueFd copy = copy_of(fd);
  if (!copy) throw std::system_error(errno, std::generic_category(), "dup of a descriptor");
  state.descriptors.push_back(std::move(copy));
  return static_cast<int32_t>(state.descriptors.size() - 1);
}

UniqueFd taken(const SessionState& state, int32_t index) {
  if (index < 0 || static_cast<size_t>(index) >= state.descriptors.size()) return UniqueFd{};
  return copy_of(state.descriptors[static_cast<size_t>(index)].get());
}

}  // namespace

std::vector<std::byte> SessionState::encode() const {
  Writer writer;
  writer(kVersion);
  archive(writer, *this);
  return std::move(writer.bytes);
}

std::optional<SessionState> SessionState::decode(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  uint64_t version = 0;
  reader(version);
  if (version != kVersion) return std::nullopt;
  SessionState state;
  archive(reader, state);
  if (reader.failed || !reader.rest.empty()) return std::nullopt;
  return state;
}

SessionState dump_state(Session& session) {
  SessionState state;
  state.negotiated = session.negotiated();
  state.last_file = session.files().last();
  state.last_directory = session.directories().last();
  state.last_graft = session.grafts().last();
  for (const GraftPtr& graft : session.grafts().all()) {
    const Tree& tree = *graft->tree;
    GraftRequest request;
    request.tree = graft->parent_tree;
    request.path = graft->parent_path;
    request.name = graft->name;
    request.backing = graft->backing;
    request.subpath = graft->subpath;
    request.read_only = tree.read_only;
    request.revocable = tree.revocable;
    request.compute = tree.programs != nullptr;
    request.identity = graft->identity;
    if (tree.quota) request.quota_bytes = tree.quota->limit();
    state.grafts.push_back({tree.id, graft->made_stub, std::move(request)});
  }
  session.inodes().dump(state);
  session.files().for_each([&](uint64_t number, FileHandle& file, uint32_t uid) {
    state.handles.push_back({number, file.inode().node(), false, file.flags(), file.mode(), uid,
                             keep(state, file.opened_descriptor())});
  });
  session.directories().for_each([&](uint64_t number, DirectoryHandle& directory, uint32_t uid) {
    state.handles.push_back({number, directory.inode->node(), true, O_RDONLY, IoMode::cached, uid,
                             keep(state, directory.fd.get())});
  });
  return state;
}

void restore_state(Session& session, const SessionState& state) {
  for (const FilesystemRecord& record : state.filesystems)
    session.inodes().numbers().restore_mark(record.tree, record.dev, record.mark);
  std::map<uint32_t, TreePtr> trees{{0, session.inodes().root()->filesystem().tree}};
  for (const GraftRecord& record : state.grafts)
    trees[record.id] = session.grafts().adopt(record.request, record.id, record.made_stub)->tree;
  session.grafts().restore_last(state.last_graft);
  session.inodes().restore(state, trees);
  for (const HandleRecord& record : state.handles) {
    const InodePtr inode = session.inodes().find(record.node);
    UniqueFd fd = taken(state, record.descriptor);
    if (!inode) continue;
    if (record.is_directory) {
      session.directories().restore(
          record.number, std::make_shared<DirectoryHandle>(std::move(fd), inode), record.uid);
      continue;
    }
    IoState& io = inode->io_state();
    if (record.mode == IoMode::cached) ++io.cached;
    if (record.mode == IoMode::passthrough) ++io.passthrough;
    session.files().restore(
        record.number,
        std::make_shared<FileHandle>(std::move(fd), inode, record.flags, session.passthrough(),
                                     record.mode),
        record.uid);
  }
  session.files().restore_last(state.last_file);
  session.directories().restore_last(state.last_directory);
}

// ---- the inode table's part

void InodeTable::dump(SessionState& state) const {
  const std::shared_lock lock(mutex_);
  state.next_node = next_node_;
  std::map<const MountAnchor*, int32_t> kept;  // thousands of grafts may share one
  for (const auto& [key, filesystem] : filesystems_) {
    const MountAnchorPtr root = filesystem->any_root();
    const auto [known, is_new] = kept.try_emplace(root.get(), -1);
    if (root && is_new) known->second = keep(state, root->directory.get());
    state.filesystems.push_back(
        {filesystem->tree->id, filesystem->dev, filesystem->mark, known->second});
  }
  const std::lock_guard descriptors_lock(descriptors_mutex_);
  for (const auto& [number, inode] : by_node_) {
    if (inode->tree().gone()) continue;
    NodeRecord record;
    record.node = number;
    record.lookups = inode->lookups_;
    record.tree = inode->tree().id;
    record.dev = inode->dev();
    record.ino = inode->ino();
    record.type = inode->type();
    const WriteActivity activity = inode->write_activity();
    if (activity.last_writer != 0) record.activity |= NodeRecord::wrote;
    if (activity.last_read_writer != 0) record.activity |= NodeRecord::read_wrote;
    if (activity.last_appender != 0) record.activity |= NodeRecord::appended;
    record.backing_id = inode->io_state().backing_id;
    const int path = inode->path_ ? inode->path_->get() : -1;
    if (inode != root_ && inode->pinned_) {
      record.descriptor = keep(state, path);
    } else if (inode->filesystem().reach() == Filesystem::Reach::handles) {
      record.handle = (path >= 0 ? FileIdentity::of(path) : inode->identity_).bytes();
    } else if (inode->place_) {
      Attributes now;
      record.parent = inode->place_->parent;
      record.name = inode->place_->name;
      record.birth_ns = path >= 0 && read_attributes(path, now) == 0 ? now.birth_ns
                                                                    : inode->place_->birth_ns;
      if (record.birth_ns == 0) record.descriptor = keep(state, path);
    } else {
      record.descriptor = keep(state, path);
    }
    state.nodes.push_back(std::move(record));
  }
}

void InodeTable::restore(const SessionState& state, const std::map<uint32_t, TreePtr>& trees) {
  const std::unique_lock lock(mutex_);
  std::vector<Descriptor> closing;
  for (const FilesystemRecord& record : state.filesystems) {
    const auto tree = trees.find(record.tree);
    FilesystemPtr& filesystem = filesystems_[{record.tree, record.dev}];
    if (filesystem || tree == trees.end()) continue;
    const UniqueFd directory = taken(state, record.directory);
    filesystem = std::make_shared<Filesystem>(tree->second, record.dev, record.mark,
                                              directory.get(), static_cast<bool>(directory));
  }
  next_node_ = std::max(next_node_, state.next_node);
  for (const NodeRecord& record : state.nodes) {
    const auto filesystem = filesystems_.find({record.tree, record.dev});
    if (record.node == root_->node() || filesystem == filesystems_.end() || !filesystem->second)
      continue;
    UniqueFd path = taken(state, record.descriptor);
    const bool held = static_cast<bool>(path);
    const auto inode = std::make_shared<Inode>(*this, record.node, filesystem->second, record.ino,
                                               record.type, std::move(path));
    inode->lookups_ = record.lookups;
    if (record.activity & NodeRecord::wrote) inode->rewritten();
    if (record.activity & NodeRecord::read_wrote) inode->last_read_writer_ = next_stamp();
    if (record.activity & NodeRecord::appended) inode->last_appender_ = next_stamp();
    inode->io_state().backing_id = record.backing_id;
    add(inode);
    by_identity_.emplace(Identity{filesystem->second.get(), record.ino}, inode);
    const std::lock_guard descriptors_lock(descriptors_mutex_);
    inode->pinned_ = held;
    if (const MountAnchorPtr root = filesystem->second->any_root(); root && !record.handle.empty())
      inode->identity_ = FileIdentity(record.handle, root->mount);
    if (record.parent != 0)
      inode->place_ = std::make_unique<Inode::Place>(
          Inode::Place{record.parent, record.name, record.birth_ns});
    evicts_ = true;
  }
}

}  // namespace insitu
