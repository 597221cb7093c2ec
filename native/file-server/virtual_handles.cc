#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "scratch.h"
#include "session.h"
#include "virtual_files.h"

namespace insitu {
namespace {

// Whether a virtual file of a graft that is going or gone still answers: what is open may be closed, and
// a result that is open is a copy, which is read on.
bool outlives_tree(const Request& request) {
  switch (request.opcode()) {
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_READ:
    case FUSE_LSEEK:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<Upcall> VirtualFiles::upcall(Upcall::Op op, const std::string& key,
                                             const Request& request, bool with_groups) const {
  auto call = std::make_unique<Upcall>();
  call->op = op;
  call->key = key;
  call->caller = request.caller();
  // Now: a moment later the thread may be gone, or someone else.
  if (with_groups) call->groups = request.caller_groups();
  return call;
}

void VirtualFiles::handle(Request& request) {
  const VirtualNodePtr node = nodes_.find(request.node());
  if (!node) return void(request.reply_error(ESTALE));
  if (node->parent->tree().state != Tree::State::live && !outlives_tree(request))
    return void(request.reply_error(ESTALE));
  const bool is_directory =
      node->kind == VirtualKind::results || node->kind == VirtualKind::last;
  switch (request.opcode()) {
    case FUSE_LOOKUP:
      if (node->kind == VirtualKind::results)
        return lookup_in_results(request, node, request.name(0));
      if (node->kind == VirtualKind::last) return lookup_in_last(request, node, request.name(0));
      return void(request.reply_error(ENOTDIR));
    case FUSE_GETATTR:
    case wire::kStatx:
      return getattr(request, node);
    case FUSE_SETATTR:
      return setattr(request, node);
    case FUSE_OPEN:
      return open(request, node);
    case FUSE_READ:
      return read(request);
    case FUSE_WRITE:
      return write(request);
    case FUSE_FLUSH:
      return flush(request);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return release(request);
    case FUSE_OPENDIR:
      return is_directory ? open_directory(request, node) : void(request.reply_error(ENOTDIR));
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return read_directory(request);
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_ACCESS:
      return void(request.reply_error(0));
    case FUSE_STATFS:
      return statfs(request, *node);
    case FUSE_GETXATTR:
      return getxattr(request, *node);
    case FUSE_LISTXATTR:
      return listxattr(request, *node);
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
      return void(request.reply_error(ENOTSUP));
    case FUSE_LSEEK:
      return seek_result(request);
    case FUSE_POLL:
      return poll(request);
    case FUSE_IOCTL:
      return void(request.reply_error(ENOTTY));
    case FUSE_COPY_FILE_RANGE:
    case wire::kCopyFileRange64:
      // The kernel then copies by reading and writing.
      return void(request.reply_error(EXDEV));
    case FUSE_CREATE:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_TMPFILE:
      return void(request.reply_error(EPERM));
    default:
      // Never ENOSYS: that would end the operation for ordinary files too.
      return void(request.reply_error(EOPNOTSUPP));
  }
}

void VirtualFiles::open(Request& request, const VirtualNodePtr& node) {
  const auto* in = request.arg<fuse_open_in>();
  if (in == nullptr) return void(request.reply_error(EINVAL));
  if (node->kind == VirtualKind::results || node->kind == VirtualKind::last)
    return void(request.reply_error(EISDIR));
  if (node->kind == VirtualKind::result) {
    if ((in->flags & O_ACCMODE) != O_RDONLY || (in->flags & O_TRUNC) != 0)
      return void(request.reply_error(EROFS));
    if (node->bound()) {
      if (!may_open(request, *node)) return void(request.reply_error(ESTALE));
      return void(open_result(request, node));
    }
    return when_fresh(request, node, [this, node](Request& waiting) {
      std::shared_ptr<const BoundResult> bound;
      if (const int error = settle(node, bound)) return waiting.reply_error(error) == 0;
      return open_result(waiting, node);
    });
  }
  auto call = upcall(Upcall::Op::open, node->key, request, true);
  call->kind = node->kind;
  call->name = node->name;
  call->flags = in->flags;
  upcalls_.forward(request, std::move(call),
                   [this, node](Request& waiting, const UpcallReply& reply) {
                     return reply_open(waiting, node, reply);
                   });
}

bool VirtualFiles::reply_open(Request& request, const VirtualNodePtr& node,
                              const UpcallReply& reply, const fuse_entry_out* entry) {
  auto handle = std::make_shared<Handle>();
  handle->node = node;
  handle->number = reply.handle;
  wire::OpenOut out{};
  out.fh = handles_.add(std::move(handle), request.caller().uid);
  // TypeScript sees every read and write; nothing of it is in the page cache.
  out.open_flags = FOPEN_DIRECT_IO;
  if (reply.stream) out.open_flags |= FOPEN_STREAM | FOPEN_NONSEEKABLE;
  const auto bytes = std::as_bytes(std::span{&out, 1});
  const int error = entry != nullptr
                        ? request.reply(std::as_bytes(std::span{entry, 1}), bytes)
                        : request.reply(bytes);
  if (error != 0) handles_.remove(out.fh);
  return error == 0;
}

void VirtualFiles::read(Request& request) {
  const auto* in = request.arg<fuse_read_in>();
  const HandlePtr handle = in != nullptr ? handles_.find(in->fh) : nullptr;
  if (!handle) return void(request.reply_error(EBADF));
  if (handle->fd) return read_result(request, *handle);
  if (!handle->number) return void(request.reply_error(EISDIR));
  if (handle->node->parent->tree().state != Tree::State::live)
    return void(request.reply_error(ESTALE));
  auto call = upcall(Upcall::Op::read, handle->node->key, request, false);
  call->handle = handle->number;
  call->offset = in->offset;
  call->size = std::min<size_t>(in->size, kMaxTransferBytes);
  call->flag = (in->flags & O_NONBLOCK) != 0;
  const size_t most = call->size;
  upcalls_.forward(request, std::move(call),
                   [most](Request& waiting, const UpcallReply& reply) {
                     return waiting.reply(reply.data.first(std::min(most, reply.data.size()))) == 0;
                   });
}

void VirtualFiles::write(Request& request) {
  const auto* in = request.arg<fuse_write_in>();
  const HandlePtr handle = in != nullptr ? handles_.find(in->fh) : nullptr;
  if (!handle || !handle->number) return void(request.reply_error(EBADF));
  const auto data = request.body().subspan(sizeof *in);
  if (data.size() < in->size) return void(request.reply_error(EINVAL));
  auto call = upcall(Upcall::Op::write, handle->node->key, request, false);
  call->handle = handle->number;
  call->offset = in->offset;
  call->flag = (in->flags & O_APPEND) != 0;
  call->data.assign(data.begin(), data.begin() + in->size);
  upcalls_.forward(request, std::move(call),
                   [most = in->size](Request& waiting, const UpcallReply& reply) {
                     fuse_write_out out{};
                     out.size = static_cast<uint32_t>(std::min<uint64_t>(reply.written, most));
                     return waiting.reply_with(out) == 0;
                   });
}

void VirtualFiles::flush(Request& request) {
  const auto* in = request.arg<fuse_flush_in>();
  const HandlePtr handle = in != nullptr ? handles_.find(in->fh) : nullptr;
  if (!handle) return void(request.reply_error(EBADF));
  if (!handle->number) return void(request.reply_error(0));
  auto call = upcall(Upcall::Op::flush, handle->node->key, request, false);
  call->handle = handle->number;
  upcalls_.forward(request, std::move(call), [](Request& waiting, const UpcallReply&) {
    return waiting.reply_error(0) == 0;
  });
}

void VirtualFiles::release(Request& request) {
  const auto* in = request.arg<fuse_release_in>();
  const HandlePtr handle = in != nullptr ? handles_.remove(in->fh) : nullptr;
  request.reply_error(handle ? 0 : EBADF);
  if (!handle || !handle->number) return;
  {
    const std::lock_guard lock(mutex_);
    polls_.erase(*handle->number);
  }
  auto call = upcall(Upcall::Op::release, handle->node->key, request, false);
  call->handle = handle->number;
  upcalls_.tell(std::move(call));
}

void VirtualFiles::poll(Request& request) {
  const auto* in = request.arg<fuse_poll_in>();
  const HandlePtr handle = in != nullptr ? handles_.find(in->fh) : nullptr;
  if (!handle) return void(request.reply_error(EBADF));
  if (handle->node->kind != VirtualKind::query || !handle->number) {
    // As of an ordinary file.
    request.reply_with(fuse_poll_out{POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, 0});
    return;
  }
  if ((in->flags & FUSE_POLL_SCHEDULE_NOTIFY) != 0) {
    const std::lock_guard lock(mutex_);
    polls_.insert_or_assign(*handle->number, in->kh);
  }
  auto call = upcall(Upcall::Op::poll, handle->node->key, request, false);
  call->handle = handle->number;
  call->flag = (in->events & (POLLIN | POLLRDNORM)) != 0;
  upcalls_.forward(request, std::move(call), [](Request& waiting, const UpcallReply& reply) {
    fuse_poll_out out{};
    if (reply.readable) out.revents |= POLLIN | POLLRDNORM;
    if (reply.writable) out.revents |= POLLOUT | POLLWRNORM;
    return waiting.reply_with(out) == 0;
  });
}

void VirtualFiles::wake(uint64_t handle) {
  uint64_t kernel_handle = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = polls_.extract(handle);
    if (found.empty()) return;
    kernel_handle = found.mapped();
  }
  session_->notifier().wake_poll(kernel_handle);
}

}  // namespace insitu
