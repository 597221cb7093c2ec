#include "admission.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "session.h"
#include "wire.h"

namespace insitu {

namespace {

// What MKDIR and SYMLINK occupy at once; they are refused when that is not left.
constexpr uint64_t kBlockBytes = 4'096;

bool changes(const Request& request) {
  switch (request.opcode()) {
    case FUSE_SETATTR:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
    case FUSE_WRITE:
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
    case FUSE_CREATE:
    case FUSE_TMPFILE:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case wire::kCopyFileRange64:
      return true;
    case FUSE_OPEN: {
      const auto flags = static_cast<int>(request.arg<fuse_open_in>()->flags);
      return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    }
    case FUSE_IOCTL:
      // Commands that the kernel's own numbering says hand something in.
      return request.arg<fuse_ioctl_in>()->in_size > 0;
    default:
      return false;
  }
}

// The second node of an operation that has one, else 0.
uint64_t other_node(const Request& request) {
  switch (request.opcode()) {
    case FUSE_LINK:
      return request.arg<fuse_link_in>()->oldnodeid;
    case FUSE_RENAME:
    case FUSE_RENAME2:
      return request.arg<fuse_rename_in>()->newdir;
    case FUSE_COPY_FILE_RANGE:
    case wire::kCopyFileRange64:
      return request.arg<fuse_copy_file_range_in>()->nodeid_out;
    default:
      return 0;
  }
}

// Whether a tree that is going or gone still answers: dirty mapped pages of the time before may be
// written while it goes, and what is open may always be closed.
bool outlives(const Request& request, Tree::State state) {
  switch (request.opcode()) {
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return true;
    case FUSE_WRITE:
      return state == Tree::State::revoking &&
             (request.arg<fuse_write_in>()->write_flags & FUSE_WRITE_CACHE);
    default:
      return false;
  }
}

// Whether a request that changes something names what may be no entry on disk: a program is attached to a
// read-only tree, or taken away, and nothing is written there.
bool may_be_virtual(const Session& session, const Request& request, const Tree& tree) {
  const bool makes_or_removes = request.opcode() == FUSE_CREATE ||
                                request.opcode() == FUSE_MKNOD || request.opcode() == FUSE_UNLINK;
  if (!makes_or_removes || !tree.programs) return false;
  const Opcode* const opcode = find_opcode(request.opcode());
  const VirtualLayer* const layer = session.virtual_layer();
  return layer && layer->is_reserved(request.name(opcode->argument_bytes));
}

// Whether a graft needs `name` in `parent` to stay what it is.
bool held_by_graft(const GraftTable& grafts, const Inode& parent, std::string_view name) {
  if (name.empty()) return false;
  if (grafts.at(parent, name)) return true;
  if (!grafts.is_ancestor(parent.tree().id, parent.dev(), parent.ino())) return false;
  const Descriptor directory = parent.descriptor();
  struct stat attributes;
  return directory &&
         ::fstatat(directory->get(), name.data(), &attributes, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISDIR(attributes.st_mode) &&
         grafts.is_ancestor(parent.tree().id, attributes.st_dev, attributes.st_ino);
}

}  // namespace

Admission::Admission(Session& session, Request& request, const Opcode& opcode) {
  if (!session.grafts().any() || request.opcode() == FUSE_FORGET) return;
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return;
  if (!inode->tree().is_volume()) {
    // Not counted while it waits there, which a revocation would wait for.
    writes_ = changes(request);
    if (writes_) inode->tree().writes.enter();
    // Counted before it is looked at: who revokes sets the state, and then waits for the count.
    ++inode->tree().under_way;
    counted_ = inode;
    begun_ = std::chrono::steady_clock::now();
  }
  const int error = refusal(session, request, opcode, *inode);
  admitted_ = error == 0;
  if (!admitted_) request.reply_error(error);
}

Admission::~Admission() {
  if (!counted_) return;
  Tree& tree = counted_->tree();
  if (admitted_) tree.latencies.add(std::chrono::steady_clock::now() - begun_);
  --tree.under_way;
  if (writes_) tree.writes.leave();
}

int Admission::refusal(Session& session, Request& request, const Opcode& opcode,
                       const Inode& inode) {
  Tree& tree = inode.tree();
  const Tree::State state = tree.state;
  if (state != Tree::State::live) return outlives(request, state) ? 0 : ESTALE;
  const uint64_t node = other_node(request);
  const InodePtr other = node == 0 || is_virtual(node) ? nullptr : session.inodes().find(node);
  if (other && &other->tree() != &tree) return EXDEV;
  if (tree.read_only && changes(request)) {
    ends_at_disk_ = true;
    if (!may_be_virtual(session, request, tree)) return EROFS;
  }
  const GraftTable& grafts = session.grafts();
  if (request.opcode() == FUSE_UNLINK || request.opcode() == FUSE_RMDIR) {
    if (held_by_graft(grafts, inode, request.name(0))) return EBUSY;
  } else if (opcode.naming == Naming::rename && other) {
    const std::string_view from = request.name(opcode.argument_bytes);
    const std::string_view to = request.name(opcode.argument_bytes + from.size() + 1);
    if (held_by_graft(grafts, inode, from) || held_by_graft(grafts, *other, to)) return EBUSY;
  }
  if (tree.quota && (request.opcode() == FUSE_MKDIR || request.opcode() == FUSE_SYMLINK) &&
      tree.quota->left() < kBlockBytes)
    return EDQUOT;
  return 0;
}

}  // namespace insitu
