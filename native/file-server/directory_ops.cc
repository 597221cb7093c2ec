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

int seek(DirectoryHandle& directory, int64_t position) {
  if (directory.position == position && position != 0) return 0;
  directory.begin = directory.end = 0;
  if (::lseek(directory.fd.get(), position, SEEK_SET) < 0) return errno;
  directory.position = position;
  return 0;
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
  if (session.options().exclusive) out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
  out.fh = session.directories().add(std::make_shared<DirectoryHandle>(std::move(fd), inode));
  if (request.reply_with(out) != 0) session.directories().remove(out.fh);
}

void readdir(Session& session, Request& request) {
  const auto* in = request.arg<fuse_read_in>();
  const auto directory = session.directories().find(in->fh);
  if (!directory) return void(request.reply_error(EBADF));
  const std::lock_guard lock(directory->mutex);
  if (const int error = seek(*directory, static_cast<int64_t>(in->offset)))
    return void(request.reply_error(error));
  const auto out = scratch(std::min<size_t>(in->size, kMaxTransferBytes));
  size_t used = 0;
  int error = 0;
  while (const BackingEntry* entry = current(*directory, error)) {
    const size_t name_size = ::strnlen(entry->name, entry->length - kNameOffset);
    const size_t entry_size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name_size);
    if (entry_size > out.size() - used) break;
    fuse_dirent record{entry->ino, static_cast<uint64_t>(entry->offset),
                       static_cast<uint32_t>(name_size), entry->type};
    std::memset(out.data() + used, 0, entry_size);
    std::memcpy(out.data() + used, &record, FUSE_NAME_OFFSET);
    std::memcpy(out.data() + used + FUSE_NAME_OFFSET, entry->name, name_size);
    used += entry_size;
    directory->position = entry->offset;
    directory->begin += entry->length;
  }
  if (error != 0 && used == 0) return void(request.reply_error(error));
  request.reply(out.first(used));
}

void releasedir(Session& session, Request& request) {
  session.directories().remove(request.arg<fuse_release_in>()->fh);
  request.reply_error(0);
}

}  // namespace insitu::ops
