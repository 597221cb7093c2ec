#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "attributes.h"
#include "caller_syscall.h"
#include "../common/failure.h"
#include "principal.h"
#include "reopen.h"
#include "session.h"
#include "virtual_files.h"

namespace insitu {
VirtualFiles::VirtualFiles(std::shared_ptr<Volume> volume, ReservedNames names, Upcalls& upcalls)
    : volume_(std::move(volume)),
      names_(std::move(names)),
      upcalls_(upcalls),
      sees_callers_(can_see_callers()) {}

VirtualFiles::~VirtualFiles() = default;

void VirtualFiles::clear() {
  nodes_.clear();
  handles_.clear();
  result_files_.clear();
}

// ---- from TypeScript

void VirtualFiles::set_program(Program program) { programs_.set(std::move(program)); }

void VirtualFiles::remove_program(const std::string& key) {
  const ProgramPtr program = programs_.remove(key);
  if (!program) return;
  result_files_.forget(key, 0);
  const InodePtr directory =
      session_->inodes().find(program->tree, program->dev, program->ino);
  if (!directory) return;
  session_->notifier().invalidate_entry(directory->node(), names_.compute);
  session_->notifier().invalidate_entry(directory->node(), names_.results);
}

void VirtualFiles::publish(const std::string& key, ResultSetPtr current, ResultSetPtr last) {
  result_files_.forget(key, current ? current->version : 0);
  const ProgramPtr before = programs_.find(key);
  if (!before || !programs_.publish(key, std::move(current), std::move(last))) return;
  unseal(key, before->current.get());
  const ResultSet* old = before->newest();
  const ProgramPtr after = programs_.find(key);
  const ResultSet* now = after ? after->newest() : nullptr;
  if (now == nullptr || (old != nullptr && old->mtime_ns == now->mtime_ns)) return;
  if (const uint64_t node = nodes_.results_directory(key))
    session_->notifier().invalidate_inode(node, -1);
}

// ---- reserved names in ordinary directories

bool VirtualFiles::is_reserved(std::string_view name) const {
  return name.starts_with('.') &&
         (name == names_.compute || name == names_.results || name == names_.query);
}

ProgramPtr VirtualFiles::program_of(const Inode& directory) const {
  ProgramPtr program = programs_.find(directory.tree().id, directory.dev(), directory.ino());
  // The number may belong to another directory by now.
  if (program && key_of(directory) != program->key) program.reset();
  return program;
}

// A real entry of a reserved name wins, and is said so once.
bool VirtualFiles::backing_has(const Inode& parent, std::string_view name) {
  const Descriptor fd = parent.descriptor();
  struct stat st;
  const std::string text(name);
  if (!fd || ::fstatat(fd->get(), text.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return false;
  notice(Upcall::Op::reserved_name_taken, parent, name);
  return true;
}

bool VirtualFiles::exists(const Inode& parent, std::string_view name) const {
  if (name == names_.query) return true;
  const ProgramPtr program = program_of(parent);
  return program && (name == names_.compute || !program->writing);
}

bool VirtualFiles::lookup(Request& request, Inode& parent, std::string_view name) {
  if (backing_has(parent, name)) return false;
  const uint64_t entry_ns = parent.tree().times.entry_ns;
  const InodePtr directory = session_->inodes().find(parent.node());
  if (!directory) return false;
  if (name == names_.query) {
    const auto node = nodes_.remember(VirtualKind::query, key_of(parent), directory);
    reply_entry(request, node, attributes(*node), entry_ns);
    return true;
  }
  const ProgramPtr program = program_of(parent);
  if (!program || (name == names_.results && program->writing)) {
    // Never as something to remember: the name may come into being without the kernel.
    request.reply_error(ENOENT);
  } else if (name == names_.results) {
    const auto node = nodes_.remember(VirtualKind::results, program->key, directory);
    reply_entry(request, node, attributes(*node), entry_ns);
  } else {
    const auto node = nodes_.remember(VirtualKind::compute, program->key, directory);
    reply_entry(request, node, attributes(*node, program->size, program->mtime_ns), 0);
  }
  return true;
}

bool VirtualFiles::change(Request& request, Inode& parent, std::string_view name) {
  if (backing_has(parent, name)) return false;
  const InodePtr directory = session_->inodes().find(parent.node());
  if (!directory) return false;
  const bool there = exists(parent, name);
  const bool is_compute = name == names_.compute;
  switch (request.opcode()) {
    case FUSE_CREATE:
      if (is_compute)
        create_compute(request, directory);
      else
        request.reply_error(there ? EEXIST : EPERM);
      break;
    case FUSE_MKNOD:
      if (is_compute && !there && S_ISREG(request.arg<fuse_mknod_in>()->mode))
        make_compute(request, directory);
      else
        request.reply_error(there ? EEXIST : EPERM);
      break;
    case FUSE_UNLINK:
      if (is_compute && there)
        unlink_compute(request, directory);
      else
        request.reply_error(there ? EPERM : ENOENT);
      break;
    case FUSE_RMDIR:
      request.reply_error(!there ? ENOENT : name == names_.results ? EPERM : ENOTDIR);
      break;
    default:
      request.reply_error(there ? EEXIST : EPERM);
  }
  return true;
}

void VirtualFiles::create_compute(Request& request, const InodePtr& parent) {
  const auto* in = request.arg<fuse_create_in>();
  auto call = upcall(Upcall::Op::open, key_of(*parent), request, true);
  call->kind = VirtualKind::compute;
  call->flags = in->flags;
  call->created = true;
  if ((in->flags & O_EXCL) != 0 && programs_.find(call->key))
    return void(request.reply_error(EEXIST));
  const std::string key = call->key;
  upcalls_.forward(
      request, std::move(call), [this, parent, key](Request& waiting, const UpcallReply& reply) {
        const auto node = nodes_.remember(VirtualKind::compute, key, parent);
        fuse_entry_out entry{};
        entry.nodeid = node->id;
        entry.generation = 1;
        entry.attr = attributes(*node);
        const bool taken = reply_open(waiting, node, reply, &entry);
        if (!taken) nodes_.forget(node->id, 1);
        return taken;
      });
}

// mknod(2) of a regular file: opened and closed.
void VirtualFiles::make_compute(Request& request, const InodePtr& parent) {
  auto call = upcall(Upcall::Op::open, key_of(*parent), request, true);
  call->kind = VirtualKind::compute;
  call->flags = O_WRONLY | O_CREAT | O_EXCL;
  call->created = true;
  const std::string key = call->key;
  upcalls_.forward(
      request, std::move(call), [this, parent, key](Request& waiting, const UpcallReply& reply) {
        const auto node = nodes_.remember(VirtualKind::compute, key, parent);
        VirtualFiles::reply_entry(waiting, node, attributes(*node), 0);
        auto closing = upcall(Upcall::Op::release, key, waiting, false);
        closing->handle = reply.handle;
        upcalls_.tell(std::move(closing));
        return true;
      });
}

void VirtualFiles::unlink_compute(Request& request, const InodePtr& parent) {
  upcalls_.forward(request, upcall(Upcall::Op::unlink, key_of(*parent), request, true),
                   [this](Request& waiting, const UpcallReply&) {
                     // Before the reply: its results are gone for who is told so. Their names alone cannot
                     // be dropped while whoever waits for it holds the directory.
                     session_->notifier().expire_names();
                     return waiting.reply_error(0) == 0;
                   });
}

bool VirtualFiles::rename(Request& request, Inode& from, std::string_view old_name, Inode& to,
                          std::string_view new_name, uint32_t flags) {
  const bool old_virtual = is_reserved(old_name) && !backing_has(from, old_name);
  const bool new_virtual = is_reserved(new_name) && !backing_has(to, new_name);
  if (!old_virtual && !new_virtual) return false;
  if (old_virtual) {
    // EXDEV makes mv copy the program and remove this one.
    const bool movable = old_name == names_.compute && (flags & RENAME_EXCHANGE) == 0;
    request.reply_error(!exists(from, old_name) ? ENOENT : movable ? EXDEV : EPERM);
    return true;
  }
  if (new_name != names_.compute || (flags & (RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0)
    request.reply_error(EPERM);
  else if ((flags & RENAME_NOREPLACE) != 0 && exists(to, new_name))
    request.reply_error(EEXIST);
  else
    rename_onto_compute(request, from, old_name, to);
  return true;
}

void VirtualFiles::rename_onto_compute(Request& request, Inode& from, std::string_view old_name,
                                       Inode& to) {
  const Descriptor directory = from.descriptor();
  const std::string name(old_name);
  UniqueFd source;
  if (directory) source.reset(::openat(directory->get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!source || ::fstat(source.get(), &st) != 0) return void(request.reply_error(errno));
  if (!S_ISREG(st.st_mode)) return void(request.reply_error(EPERM));
  // Each has the kernel told of it.
  if (session_->notifier().is_behind()) return void(request.reply_error(EAGAIN));

  auto call = upcall(Upcall::Op::rename_onto, key_of(to), request, true);
  // Whoever may rename a file may not always read it, and a program can be read in its new place.
  try {
    const PrincipalScope scope({call->caller.uid, call->caller.gid, call->groups});
    call->fd = reopen(source.get(), O_RDONLY | O_NONBLOCK);
    if (!call->fd) return void(request.reply_error(errno));
  } catch (const Failure& failure) {
    return void(request.reply_error(failure.error()));
  }
  call->size = static_cast<uint64_t>(st.st_size);
  upcalls_.forward(
      request, std::move(call),
      [this, name, directory, source = std::make_shared<UniqueFd>(std::move(source)),
       target = to.node(), tree = from.tree().id](Request& waiting, const UpcallReply&) {
        const TreePtr graft = session_->grafts().tree(tree);
        Quota::Hold counted(graft ? graft->quota.get() : nullptr, source->get());
        struct stat was, is;
        if (::fstat(source->get(), &was) != 0 ||
            ::fstatat(directory->get(), name.c_str(), &is, AT_SYMLINK_NOFOLLOW) != 0 ||
            was.st_dev != is.st_dev || was.st_ino != is.st_ino)
          return waiting.reply_error(ENOENT) == 0;
        if (::unlinkat(directory->get(), name.c_str(), 0) != 0)
          return waiting.reply_error(errno) == 0;
        const InodePtr inode = session_->inodes().find(tree, was.st_dev, was.st_ino);
        counted.end();
        // Before the reply: with it the kernel takes the source's node for `.compute`.
        if (inode) {
          // It may have other names, which must go on being found.
          session_->inodes().retire(inode);
          const std::lock_guard lock(mutex_);
          ++stale_[inode->node()];
          stale_count_ = stale_.size();
        }
        const bool taken = waiting.reply_error(0) == 0;
        if (inode) drop_stale(inode->node(), target);
        return taken;
      });
}

// The node answers ESTALE, which makes the kernel look names up again, until it has dropped the
// dentry. Not longer: who has the file open goes on with it.
void VirtualFiles::drop_stale(uint64_t node, uint64_t parent) {
  session_->notifier().invalidate_entry(parent, names_.compute);
  session_->notifier().after([this, node] {
    const std::lock_guard lock(mutex_);
    const auto found = stale_.find(node);
    if (found != stale_.end() && --found->second == 0) stale_.erase(found);
    stale_count_ = stale_.size();
  });
}

bool VirtualFiles::is_stale(uint64_t node) const {
  const std::lock_guard lock(mutex_);
  return stale_.contains(node);
}

std::vector<ReservedEntry> VirtualFiles::reserved_entries(Inode& directory) const {
  std::vector<ReservedEntry> entries;
  const Descriptor fd = directory.descriptor();
  const auto add = [&](const std::string& name, uint8_t type) {
    // A real entry lists itself.
    struct stat st;
    if (!fd || ::fstatat(fd->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return;
    if (exists(directory, name)) entries.push_back({name, type});
  };
  add(names_.compute, DT_REG);
  add(names_.results, DT_DIR);
  // Not the query: it is a conversation, in every directory, and no copy or archive can hold it.
  return entries;
}

void VirtualFiles::forget(uint64_t node, uint64_t lookups) { nodes_.forget(node, lookups); }

void VirtualFiles::directory_removed(Inode& directory) {
  const ProgramPtr program =
      programs_.find(directory.tree().id, directory.dev(), directory.ino());
  if (!program) return;
  programs_.remove(program->key);
  auto call = std::make_unique<Upcall>();
  call->op = Upcall::Op::forget_directory;
  call->key = program->key;
  upcalls_.tell(std::move(call));
}

}  // namespace insitu
