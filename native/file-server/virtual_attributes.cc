#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "attributes.h"
#include "session.h"
#include "virtual_files.h"

namespace insitu {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// A version of a result never changes.
constexpr uint64_t kForeverNs = uint64_t{86'400} * kSecondNs;
// Mode and owner of a sealed name may be asked for alone, and are not validated then.
constexpr uint64_t kSealedSeconds = 1;

// Above the inode numbers of the usual file systems, and still exact in a double.
constexpr uint64_t kFirstIno = uint64_t{1} << 52;

void set_times(fuse_attr& out, int64_t ns) {
  ns = std::max<int64_t>(ns, 0);
  out.atime = out.mtime = out.ctime = static_cast<uint64_t>(ns / kSecondNs);
  out.atimensec = out.mtimensec = out.ctimensec = static_cast<uint32_t>(ns % kSecondNs);
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

wire::Statx to_statx(const fuse_attr& attributes) {
  constexpr uint32_t kBasicStats = 0x7ff;  // STATX_BASIC_STATS; no birth time
  wire::Statx out{};
  out.mask = kBasicStats;
  out.blksize = attributes.blksize;
  out.nlink = attributes.nlink;
  out.uid = attributes.uid;
  out.gid = attributes.gid;
  out.mode = static_cast<uint16_t>(attributes.mode);
  out.ino = attributes.ino;
  out.size = attributes.size;
  out.blocks = attributes.blocks;
  const wire::StatxTime time{static_cast<int64_t>(attributes.mtime), attributes.mtimensec, 0};
  out.atime = out.ctime = out.mtime = time;
  return out;
}

constexpr std::string_view kXattrPrefix = "user.insitu.";

}  // namespace

// What needs no waiting. Owner and bits of `.compute` are the directory's, so that the kernel's check
// lets through whom TypeScript may accept; results and what tells of them belong to the principal.
fuse_attr VirtualFiles::attributes(const VirtualNode& node, uint64_t size, int64_t mtime_ns) const {
  fuse_attr out{};
  out.ino = kFirstIno + (node.id - kFirstVirtualNode);
  out.nlink = 1;
  out.blksize = 4096;
  out.size = size;
  out.blocks = (size + 511) / 512;
  set_times(out, mtime_ns);

  struct stat directory {};
  if (stat_inode(*node.parent, directory) != 0) directory.st_mode = S_IFDIR;
  const uint32_t bits = directory.st_mode & 0777;
  out.uid = directory.st_uid;
  out.gid = directory.st_gid;
  if (node.kind == VirtualKind::query) {
    out.mode = S_IFREG | 0666;
    set_times(out, now_ns());
    return out;
  }
  if (node.kind == VirtualKind::compute) {
    // With an ACL the bits say less than is allowed; TypeScript asks for the right itself.
    const Descriptor fd = node.parent->descriptor();
    const bool acl = fd && has_acl(fd->get());
    out.mode = S_IFREG | (acl ? 0666 : bits & 0666);
    return out;
  }
  const ProgramPtr program = programs_.find(node.key);
  const ResultSet* set = program ? program->newest() : nullptr;
  if (program) {
    out.uid = program->uid;
    out.gid = program->gid;
  }
  // Of the current set only: after a failed run these files tell of that run, whose inputs may be more
  // secret than those of the last good one.
  const uint32_t readable = 0400 | (program && program->current ? program->current->mode & 0044 : 0);
  switch (node.kind) {
    case VirtualKind::results:
    case VirtualKind::last:
      out.mode = S_IFDIR | 0500 | (bits & 0055);
      out.nlink = 2;
      set_times(out, set != nullptr ? set->mtime_ns : program ? program->mtime_ns : 0);
      break;
    case VirtualKind::control:
      out.mode = S_IFREG | (node.name == ".control" ? 0200 | (bits & 0022) : readable);
      break;
    default:
      out.mode = S_IFREG | readable;
  }
  return out;
}

fuse_attr VirtualFiles::result_attributes(const VirtualNode& node, const BoundResult& bound) const {
  fuse_attr out{};
  out.ino = kFirstIno + (node.id - kFirstVirtualNode);
  out.nlink = 1;
  out.blksize = 4096;
  out.size = bound.result->size;
  out.blocks = (out.size + 511) / 512;
  out.uid = bound.set->uid;
  out.gid = bound.set->gid;
  out.mode = S_IFREG | (bound.set->mode & 0444);
  set_times(out, bound.set->mtime_ns);
  return out;
}

uint64_t VirtualFiles::validity_ns(const VirtualNode& node) const {
  switch (node.kind) {
    case VirtualKind::result:
      return node.bound() ? kForeverNs : 0;
    case VirtualKind::results:
    case VirtualKind::last:
      // Mirrors the directory's bits, which may change at any time.
      return std::min<uint64_t>(node.parent->tree().times.attributes_ns, kSecondNs);
    default:
      return 0;
  }
}

void VirtualFiles::reply_entry(Request& request, const VirtualNodePtr& node,
                               const fuse_attr& attributes, uint64_t entry_ns) {
  fuse_entry_out out{};
  out.nodeid = node->id;
  out.generation = 1;
  out.entry_valid = entry_ns / kSecondNs;
  out.entry_valid_nsec = entry_ns % kSecondNs;
  const uint64_t valid_ns = validity_ns(*node);
  out.attr_valid = valid_ns / kSecondNs;
  out.attr_valid_nsec = valid_ns % kSecondNs;
  out.attr = attributes;
  if (request.reply_with(out) != 0) nodes_.forget(node->id, 1);
}

void VirtualFiles::reply_result(Request& request, const VirtualNodePtr& node) {
  fuse_entry_out out{};
  out.nodeid = node->id;
  out.generation = 1;
  out.attr = result_attributes(*node, *node->bound());
  if (seal(*node))
    out.entry_valid = kSealedSeconds;
  else
    out.attr_valid = kForeverNs / kSecondNs;
  if (request.reply_with(out) != 0) nodes_.forget(node->id, 1);
}

// Of a version: good for ever, but where the name is sealed they must be asked for each time, as the
// name may stand for another version by then.
void VirtualFiles::reply_result_attributes(Request& request, VirtualNode& node,
                                           const BoundResult& bound) {
  if (node.sealed) session_->notifier().forget_size(node.id);
  reply_attributes(request, result_attributes(node, bound), node.sealed ? 0 : kForeverNs);
}

void VirtualFiles::reply_attributes(Request& request, const fuse_attr& attributes,
                                    uint64_t valid_ns) {
  if (request.opcode() == wire::kStatx) {
    wire::StatxOut out{};
    out.attr_valid = valid_ns / kSecondNs;
    out.attr_valid_nsec = valid_ns % kSecondNs;
    out.stat = to_statx(attributes);
    request.reply_with(out);
    return;
  }
  fuse_attr_out out{};
  out.attr_valid = valid_ns / kSecondNs;
  out.attr_valid_nsec = valid_ns % kSecondNs;
  out.attr = attributes;
  request.reply_with(out);
}

void VirtualFiles::getattr(Request& request, const VirtualNodePtr& node) {
  switch (node->kind) {
    case VirtualKind::query:
    case VirtualKind::results:
    case VirtualKind::last:
      return reply_attributes(request, attributes(*node), validity_ns(*node));
    case VirtualKind::result:
      if (const auto bound = node->bound()) {
        const auto* in = request.arg<fuse_getattr_in>();
        const bool by_handle = in != nullptr && (in->getattr_flags & FUSE_GETATTR_FH) != 0;
        const int error = by_handle ? 0 : overtaken(request, *node);
        if (error != 0) return void(request.reply_error(error));
        return reply_result_attributes(request, *node, *bound);
      }
      return when_fresh(request, node, [this, node](Request& waiting) {
        std::shared_ptr<const BoundResult> bound;
        if (const int error = settle(node, bound)) return waiting.reply_error(error) == 0;
        reply_result_attributes(waiting, *node, *bound);
        return true;
      });
    case VirtualKind::compute:
    case VirtualKind::control: {
      auto call = upcall(Upcall::Op::getattr, node->key, request, false);
      call->kind = node->kind;
      call->name = node->name;
      return upcalls_.forward(
          request, std::move(call), [this, node](Request& waiting, const UpcallReply& reply) {
            reply_attributes(waiting, attributes(*node, reply.size, reply.mtime_ns), 0);
            return true;
          });
    }
  }
}

// Truncation is TypeScript's. Modes, owners and times of what is not on disk cannot be set, but
// `cp -p` and `install -m` set them on a `.compute` and must not fail for it.
void VirtualFiles::setattr(Request& request, const VirtualNodePtr& node) {
  const auto* in = request.arg<fuse_setattr_in>();
  if (in == nullptr) return void(request.reply_error(EINVAL));
  switch (node->kind) {
    case VirtualKind::results:
    case VirtualKind::last:
    case VirtualKind::result:
      return void(request.reply_error(EPERM));
    case VirtualKind::query:
      return reply_attributes(request, attributes(*node), 0);
    case VirtualKind::compute:
    case VirtualKind::control:
      break;
  }
  if ((in->valid & FATTR_SIZE) == 0) return getattr(request, node);
  auto call = upcall(Upcall::Op::truncate, node->key, request, true);
  call->kind = node->kind;
  call->name = node->name;
  call->size = in->size;
  if ((in->valid & FATTR_FH) != 0)
    if (const HandlePtr handle = handles_.find(in->fh)) call->handle = handle->number;
  upcalls_.forward(request, std::move(call),
                   [this, node, size = in->size](Request& waiting, const UpcallReply&) {
                     reply_attributes(waiting, attributes(*node, size, now_ns()), 0);
                     return true;
                   });
}

void VirtualFiles::getxattr(Request& request, const VirtualNode& node) const {
  const auto* in = request.arg<fuse_getxattr_in>();
  if (in == nullptr) return void(request.reply_error(EINVAL));
  if (const int error = overtaken(request, node)) return void(request.reply_error(error));
  const std::string_view name = request.name(sizeof *in);
  const auto bound = node.bound();
  if (!bound || !name.starts_with(kXattrPrefix)) return void(request.reply_error(ENODATA));
  const std::string_view rest = name.substr(kXattrPrefix.size());
  std::string_view value;
  if (rest == "etag") {
    value = bound->result->etag;
  } else {
    const auto found = bound->set->xattrs.find(rest);
    if (found == bound->set->xattrs.end()) return void(request.reply_error(ENODATA));
    value = found->second;
  }
  if (in->size == 0) {
    request.reply_with(fuse_getxattr_out{static_cast<uint32_t>(value.size()), 0});
  } else if (value.size() > in->size) {
    request.reply_error(ERANGE);
  } else {
    request.reply(std::as_bytes(std::span{value.data(), value.size()}));
  }
}

void VirtualFiles::listxattr(Request& request, const VirtualNode& node) const {
  const auto* in = request.arg<fuse_getxattr_in>();
  if (in == nullptr) return void(request.reply_error(EINVAL));
  if (const int error = overtaken(request, node)) return void(request.reply_error(error));
  std::string names;
  const auto add = [&](std::string_view name) {
    names += kXattrPrefix;
    names += name;
    names += '\0';
  };
  if (const auto bound = node.bound()) {
    add("etag");
    for (const auto& [name, value] : bound->set->xattrs) add(name);
  }
  if (in->size == 0) {
    request.reply_with(fuse_getxattr_out{static_cast<uint32_t>(names.size()), 0});
  } else if (names.size() > in->size) {
    request.reply_error(ERANGE);
  } else {
    request.reply(std::as_bytes(std::span{names.data(), names.size()}));
  }
}

void VirtualFiles::statfs(Request& request, const VirtualNode& node) const {
  const Descriptor fd = node.parent->descriptor();
  struct statfs st {};
  if (!fd || ::fstatfs(fd->get(), &st) != 0) return void(request.reply_error(EIO));
  fuse_statfs_out out{};
  out.st.blocks = st.f_blocks;
  out.st.bfree = st.f_bfree;
  out.st.bavail = st.f_bavail;
  out.st.files = st.f_files;
  out.st.ffree = st.f_ffree;
  out.st.bsize = static_cast<uint32_t>(st.f_bsize);
  out.st.namelen = static_cast<uint32_t>(st.f_namelen);
  out.st.frsize = static_cast<uint32_t>(st.f_frsize);
  request.reply_with(out);
}

}  // namespace insitu
