#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "attributes.h"
#include "ops.h"
#include "reopen.h"
#include "scratch.h"

namespace insitu::ops {

namespace {

// As getdents64(2) lays it out.
struct BackingEntry {
  uint64_t ino;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[];
};
constexpr size_t kNameOffset = 19;

// About 1,000 short names a call.
constexpr size_t kBufferBytes = 32 * 1024;

// The entry at the handle's position; null at the end (`error` 0) or on failure.
const BackingEntry* current(DirectoryHandle& directory, int& error) {
  error = 0;
  if (directory.begin == directory.end) {
    if (directory.buffer.empty()) directory.buffer.resize(kBufferBytes);
    const long size = ::syscall(SYS_getdents64, directory.fd.get(), directory.buffer.data(),
                                directory.buffer.size());
    if (size < 0) error = errno;
    if (size <= 0) return nullptr;
    directory.begin = 0;
    directory.end = static_cast<size_t>(size);
  }
  return reinterpret_cast<const BackingEntry*>(directory.buffer.data() + directory.begin);
}

// Offset 0 always reads anew: rewinddir(3) is to show what is there now.
int seek(DirectoryHandle& directory, int64_t position) {
  if (directory.position == position && position != 0) return 0;
  directory.begin = directory.end = 0;
  if (::lseek(directory.fd.get(), position, SEEK_SET) < 0) return errno;
  directory.position = position;
  return 0;
}

// Offsets of reserved names, which come after the backing's own; next to the largest there is,
// which some filesystems use for the end.
constexpr int64_t kReservedOffset = INT64_MAX - 64;

// What is sent, filled entry by entry.
class Listing {
 public:
  explicit Listing(size_t size) : out_(scratch(std::min(size, kMaxTransferBytes))) {}

  bool fits(size_t head, std::string_view name) const {
    return record_size(head, name) <= out_.size() - used_;
  }
  void append(std::string_view name, uint64_t ino, uint8_t type, int64_t offset) {
    put({}, {ino, static_cast<uint64_t>(offset), static_cast<uint32_t>(name.size()), type}, name);
  }
  void append(const fuse_entry_out& entry, std::string_view name, uint64_t ino, uint8_t type,
              int64_t offset) {
    put(std::as_bytes(std::span{&entry, 1}),
        {ino, static_cast<uint64_t>(offset), static_cast<uint32_t>(name.size()), type}, name);
  }
  std::span<const std::byte> bytes() const { return out_.first(used_); }

 private:
  static size_t record_size(size_t head, std::string_view name) {
    return FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + name.size());
  }
  void put(std::span<const std::byte> head, const fuse_dirent& record, std::string_view name) {
    const size_t size = record_size(head.size(), name);
    std::byte* const start = out_.data() + used_;
    std::memset(start, 0, size);
    if (!head.empty()) std::memcpy(start, head.data(), head.size());
    std::memcpy(start + head.size(), &record, FUSE_NAME_OFFSET);
    std::memcpy(start + head.size() + FUSE_NAME_OFFSET, name.data(), name.size());
    used_ += size;
  }

  std::span<std::byte> out_;
  size_t used_ = 0;
};

// Those from `first` on.
void append_reserved(Session& session, const DirectoryHandle& directory, size_t first, bool plus,
                     Listing& listing) {
  const VirtualLayer* const layer = session.virtual_layer();
  if (!layer || !session.options().list_reserved) return;
  const auto entries = layer->reserved_entries(*directory.inode);
  for (size_t i = first; i < entries.size(); ++i) {
    const auto& [name, type] = entries[i];
    if (!listing.fits(plus ? sizeof(fuse_entry_out) : 0, name)) return;
    // Any number but 0, which readdir(3) leaves out; stat(2) of the name tells the real one.
    constexpr uint64_t ino = 1;
    const int64_t next = kReservedOffset + static_cast<int64_t>(i) + 1;
    if (plus)
      listing.append(fuse_entry_out{}, name, ino, type, next);
    else
      listing.append(name, ino, type, next);
  }
}

bool is_reserved(Session& session, std::string_view name) {
  const VirtualLayer* const layer = session.virtual_layer();
  return layer && layer->is_reserved(name);
}

// Of an entry in a mount that has grafts: a point is its graft's root, and above that root is the
// point's directory.
uint64_t shown_entry(Session& session, const Inode& directory, std::string_view name, ino_t ino) {
  if (name == "..") {
    const GraftPtr graft = session.grafts().rooted_at(directory);
    const InodePtr parent = graft ? session.inodes().find(graft->parent_tree, graft->parent_dev,
                                                          graft->parent_ino)
                                  : nullptr;
    if (parent) return shown_ino(session, parent->filesystem(), parent->ino());
  } else if (const GraftPtr graft = session.grafts().at(directory, name)) {
    return shown_ino(session, *graft->filesystem, graft->ino);
  }
  return shown_ino(session, directory.filesystem(), ino);
}

void list(Session& session, Request& request, bool plus) {
  const auto* in = request.arg<fuse_read_in>();
  const auto directory = session.directories().find(in->fh);
  if (!directory) return void(request.reply_error(EBADF));
  const std::lock_guard lock(directory->mutex);
  const auto offset = static_cast<int64_t>(in->offset);
  const bool past_backing = offset >= kReservedOffset && offset < INT64_MAX;
  const auto first_reserved = past_backing ? static_cast<size_t>(offset - kReservedOffset) : 0;
  if (const int failed = past_backing ? 0 : seek(*directory, offset))
    return void(request.reply_error(failed));
  Listing listing(in->size);
  std::vector<uint64_t> looked_up;
  const uint64_t node = directory->inode->node();
  const bool known =
      plus && session.recent_listings().is_recent(node, directory->inode->tree().times.entry_ns);
  if (offset == 0) {
    directory->began_ns = RecentListings::now_ns();
    directory->all_told = true;
  }
  directory->all_told = directory->all_told && plus && !known;
  int error = 0;
  bool full = false;
  const bool points = session.grafts().any();
  while (const BackingEntry* found = past_backing ? nullptr : current(*directory, error)) {
    const std::string_view name{found->name,
                                ::strnlen(found->name, found->length - kNameOffset)};
    if (!listing.fits(plus ? sizeof(fuse_entry_out) : 0, name)) {
      full = true;
      break;
    }
    const uint64_t ino = points ? shown_entry(session, *directory->inode, name, found->ino)
                                : shown_ino(session, directory->inode->filesystem(), found->ino);
    if (plus) {
      // Node 0 is a name without its attributes: `.` and `..`, what cannot be looked at, what the
      // kernel knows already, and real entries of reserved names, whose lookup the virtual layer
      // has to see.
      fuse_entry_out entry{};
      InodePtr child;
      const Inode& parent = *directory->inode;
      const bool told = known && session.inodes().find(parent, parent.dev(), found->ino);
      if (!told && is_component(name) && !is_reserved(session, name) &&
          look_up(session, *directory->inode, name, entry, child) == 0)
        looked_up.push_back(entry.nodeid);
      else
        entry = {};
      listing.append(entry, name, ino, found->type, found->offset);
    } else {
      listing.append(name, ino, found->type, found->offset);
    }
    directory->position = found->offset;
    directory->begin += found->length;
  }
  if (error == 0 && !full) append_reserved(session, *directory, first_reserved, plus, listing);
  if (error != 0 && listing.bytes().empty()) return void(request.reply_error(error));
  if (request.reply(listing.bytes()) == 0) {
    if (directory->all_told && error == 0 && !full)
      session.recent_listings().told(node, directory->began_ns);
    return;
  }
  for (const uint64_t child : looked_up) session.inodes().forget(child, 1);
}

}  // namespace

void opendir(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  UniqueFd fd = reopen(path->get(), O_RDONLY | O_DIRECTORY);
  if (!fd) return void(request.reply_error(errno));
  wire::OpenOut out{};
  if (inode->tree().exclusive) out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
  out.fh = session.directories().add(std::make_shared<DirectoryHandle>(std::move(fd), inode),
                                     request.caller().uid);
  if (request.reply_with(out) != 0) session.directories().remove(out.fh);
}

void readdir(Session& session, Request& request) { list(session, request, false); }

void readdirplus(Session& session, Request& request) { list(session, request, true); }

void fsyncdir(Session& session, Request& request) {
  const auto* in = request.arg<fuse_fsync_in>();
  const auto directory = session.directories().find(in->fh);
  if (!directory) return void(request.reply_error(EBADF));
  const int fd = directory->fd.get();
  const bool data_only = in->fsync_flags & FUSE_FSYNC_FDATASYNC;
  request.reply_error((data_only ? ::fdatasync(fd) : ::fsync(fd)) < 0 ? errno : 0);
}

void releasedir(Session& session, Request& request) {
  session.directories().remove(request.arg<fuse_release_in>()->fh);
  request.reply_error(0);
}

}  // namespace insitu::ops
