#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "scratch.h"
#include "session.h"
#include "virtual_files.h"

namespace insitu {
namespace {

// In listings; `.control` is left out, as reading it makes no sense.
constexpr std::array<std::string_view, 4> kListedControls = {".status", ".log", ".error", ".inputs"};
constexpr std::string_view kControl = ".control";
constexpr std::string_view kLast = ".last";

bool is_control(std::string_view name) {
  return name == kControl || std::ranges::find(kListedControls, name) != kListedControls.end();
}

// The kernel checked the directory's bits; these are the set's.
bool may_list(const ResultSet& set, const Request& request) {
  const CallerIds caller = request.caller();
  if (caller.uid == 0) return true;
  if (caller.uid == set.uid) return (set.mode & 0400) != 0;
  const auto groups = request.caller_groups();
  const bool member =
      caller.gid == set.gid || std::ranges::find(groups, set.gid) != groups.end();
  return (set.mode & (member ? 0040 : 0004)) != 0;
}

}  // namespace

// Answers at once, always: a set that does not hold right now makes the name provisional, and its
// open or stat waits for the run.
void VirtualFiles::lookup_in_results(Request& request, const VirtualNodePtr& directory,
                                     std::string_view name) {
  const ProgramPtr program = programs_.find(directory->key);
  if (!program || program->writing) return void(request.reply_error(ENOENT));
  if (is_control(name)) {
    const auto node = nodes_.remember(VirtualKind::control, directory->key, directory->parent,
                                      std::string(name));
    return reply_entry(request, node, attributes(*node, 0, program->mtime_ns), 0);
  }
  if (name == kLast && program->last) {
    const auto node = nodes_.remember(VirtualKind::last, directory->key, directory->parent);
    return reply_entry(request, node, attributes(*node), 0);
  }
  // No result has such a name.
  if (name.empty() || name.starts_with('.')) return void(request.reply_error(ENOENT));
  const ResultSetPtr& set = program->current;
  if (set && set->holds()) {
    const ResultSet::Result* result = set->find(name);
    if (result == nullptr) return void(request.reply_error(ENOENT));
    const auto node =
        nodes_.remember(BoundResult{set, result}, directory->key, directory->parent, false);
    return reply_result(request, node);
  }
  const auto node = nodes_.remember(VirtualKind::result, directory->key, directory->parent,
                                    std::string(name));
  reply_entry(request, node, attributes(*node, 0, program->mtime_ns), 0);
}

void VirtualFiles::lookup_in_last(Request& request, const VirtualNodePtr& directory,
                                  std::string_view name) {
  const ProgramPtr program = programs_.find(directory->key);
  const ResultSet::Result* result = program && program->last ? program->last->find(name) : nullptr;
  if (result == nullptr) return void(request.reply_error(ENOENT));
  const auto node =
      nodes_.remember(BoundResult{program->last, result}, directory->key, directory->parent, true);
  reply_result(request, node);
}

void VirtualFiles::when_fresh(Request& request, const VirtualNodePtr& node,
                              std::function<bool(Request&)> then) {
  const ProgramPtr program = programs_.find(node->key);
  if (program && program->current && program->current->holds()) {
    then(request);
    return;
  }
  resolve(request, node, std::move(then));
}

void VirtualFiles::resolve(Request& request, const VirtualNodePtr& node,
                           std::function<bool(Request&)> then, int tries) {
  auto on_reply = [this, node, then, tries](Request& waiting, const UpcallReply&) {
    const ProgramPtr program = programs_.find(node->key);
    if (!program || program->current || tries <= 1) return then(waiting);
    resolve(waiting, node, then, tries - 1);
    return true;
  };
  upcalls_.forward(request, upcall(Upcall::Op::resolve, node->key, request, false),
                   std::move(on_reply));
}

int VirtualFiles::settle(const VirtualNodePtr& node, std::shared_ptr<const BoundResult>& out) {
  out = node->bound();
  if (out) return 0;
  const ProgramPtr program = programs_.find(node->key);
  if (!program) return ENOENT;
  if (!program->current) return EIO;
  const ResultSet::Result* result = program->current->find(node->name);
  if (result == nullptr) return ENOENT;
  out = nodes_.bind(node, {program->current, result});
  return 0;
}

bool VirtualFiles::open_result(Request& request, const VirtualNodePtr& node) {
  ResultFiles::Opened opened = result_files_.open(session_->passthrough(), node);
  // Replaced by a later version, and swept: the kernel looks the name up again. One that is still the
  // current one does not hold any more, so that look runs the program.
  if (!opened.fd && opened.error == ENOENT) node->bound()->set->lost = true;
  if (!opened.fd)
    return request.reply_error(opened.error == ENOENT ? ESTALE : opened.error) == 0;
  auto handle = std::make_shared<Handle>();
  handle->node = node;
  handle->fd = std::move(opened.fd);
  handle->io = std::move(opened.io);
  wire::OpenOut out{};
  out.backing_id = opened.backing_id;
  out.fh = handles_.add(std::move(handle), request.caller().uid);
  // No page of this version ever changes, and closing it has nothing to say.
  out.open_flags = FOPEN_NOFLUSH | (opened.mode == IoMode::passthrough ? wire::kOpenPassthrough
                                    : opened.mode == IoMode::direct
                                        ? wire::kOpenPassthrough | FOPEN_DIRECT_IO
                                        : uint32_t{FOPEN_KEEP_CACHE});
  if (request.reply_with(out) == 0) return true;
  handles_.remove(out.fh);
  return false;
}

void VirtualFiles::open_directory(Request& request, const VirtualNodePtr& node) {
  const ProgramPtr program = programs_.find(node->key);
  if (!program || program->writing) return void(request.reply_error(ENOENT));
  if (node->kind == VirtualKind::last) return void(list(request, node));
  when_fresh(request, node, [this, node](Request& waiting) { return list(waiting, node); });
}

bool VirtualFiles::list(Request& request, const VirtualNodePtr& node) {
  const ProgramPtr program = programs_.find(node->key);
  const bool kept = node->kind == VirtualKind::last;
  const ResultSetPtr set = !program ? nullptr : kept ? program->last : program->current;
  if (!set) return request.reply_error(program && !kept ? EIO : ENOENT) == 0;
  if (!may_list(*set, request)) return request.reply_error(EACCES) == 0;
  auto handle = std::make_shared<Handle>();
  handle->node = node;
  handle->listing.push_back({".", true});
  handle->listing.push_back({"..", true});
  for (const ResultSet::Result& result : set->results) handle->listing.push_back({result.name, false});
  if (!kept) {
    for (const std::string_view name : kListedControls)
      handle->listing.push_back({std::string(name), false});
    if (program->last) handle->listing.push_back({std::string(kLast), true});
  }
  wire::OpenOut out{};
  out.fh = handles_.add(std::move(handle), request.caller().uid);
  if (request.reply_with(out) == 0) return true;
  handles_.remove(out.fh);
  return false;
}

void VirtualFiles::read_result(Request& request, const Handle& handle) const {
  const auto* in = request.arg<fuse_read_in>();
  const auto buffer = scratch(std::min<size_t>(in->size, kMaxTransferBytes));
  const ssize_t size =
      ::pread(handle.fd->get(), buffer.data(), buffer.size(), static_cast<off_t>(in->offset));
  if (size < 0) return void(request.reply_error(errno));
  request.reply(buffer.first(static_cast<size_t>(size)));
}

// SEEK_DATA and SEEK_HOLE; the kernel does the others itself.
void VirtualFiles::seek_result(Request& request) {
  const auto* in = request.arg<fuse_lseek_in>();
  const HandlePtr handle = in != nullptr ? handles_.find(in->fh) : nullptr;
  if (!handle || !handle->fd) return void(request.reply_error(EINVAL));
  const off_t at = ::lseek(handle->fd->get(), static_cast<off_t>(in->offset),
                           static_cast<int>(in->whence));
  if (at < 0) return void(request.reply_error(errno));
  request.reply_with(fuse_lseek_out{static_cast<uint64_t>(at)});
}

// Offsets are places in the listing, so a directory that is read while sets come and go stays whole.
void VirtualFiles::read_directory(Request& request) {
  const auto* in = request.arg<fuse_read_in>();
  const HandlePtr handle = in != nullptr ? handles_.find(in->fh) : nullptr;
  if (!handle) return void(request.reply_error(EBADF));
  // With READDIRPLUS an entry without a node tells the kernel just the name.
  const size_t head = request.opcode() == FUSE_READDIRPLUS ? sizeof(fuse_entry_out) : 0;
  const auto buffer = scratch(std::min<size_t>(in->size, kMaxTransferBytes));
  size_t used = 0;
  for (size_t at = in->offset; at < handle->listing.size(); ++at) {
    const ListedName& entry = handle->listing[at];
    const size_t size = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.name.size());
    if (used + size > buffer.size()) break;
    std::byte* to = buffer.data() + used;
    std::memset(to, 0, size);
    fuse_dirent dirent{};
    // Listed numbers stand for nothing that is known yet; 0 would hide the entry.
    dirent.ino = ~uint64_t{0} - at;
    dirent.off = at + 1;
    dirent.namelen = static_cast<uint32_t>(entry.name.size());
    dirent.type = (entry.is_directory ? S_IFDIR : S_IFREG) >> 12;
    std::memcpy(to + head, &dirent, FUSE_NAME_OFFSET);
    std::memcpy(to + head + FUSE_NAME_OFFSET, entry.name.data(), entry.name.size());
    used += size;
  }
  request.reply(buffer.first(used));
}

}  // namespace insitu
