#include "session.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "../common/failure.h"
#include "../common/open_backing.h"
#include "admission.h"
#include "credentials.h"
#include "mount.h"
#include "scratch.h"
#include "session_state.h"
#include "wire.h"

namespace insitu {

namespace {

// Threads block in the backing filesystem (fsync, a slow disk), so more than there are processors.
constexpr unsigned kMinThreads = 8;
constexpr unsigned kMaxThreads = 16;

constexpr size_t kFrameBytes = kMaxTransferBytes + 4096;

std::system_error failure(int error, const std::string& what) {
  return {error, std::generic_category(), what};
}

// Enough for what is in use at a time; the rest of a million known inodes are opened by handle.
size_t descriptor_bound() {
  constexpr size_t most = 4'096;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return most;
  // The larger part is for open files, results and the rest of the daemon.
  return std::clamp<size_t>(limit.rlim_cur / 4, 64, most);
}

// Without a device of its own (no right to open it, or none to clone) a thread shares the first
// one.
UniqueFd clone_device(int original) {
  UniqueFd clone(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  auto number = static_cast<uint32_t>(original);
  if (clone && ::ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &number) == 0) return clone;
  clone.reset(::fcntl(original, F_DUPFD_CLOEXEC, 0));
  if (!clone) throw failure(errno, "dup of the device");
  return clone;
}

bool may_have_programs(const Inode& directory) {
  return directory.tree().is_volume() || directory.tree().programs;
}

}  // namespace

Session::Session(SessionOptions options, VirtualLayer* layer,
                 std::function<void(std::string)> on_end)
    : options_(std::move(options)),
      layer_(layer),
      on_end_(std::move(on_end)) {
  UniqueFd root = open_backing(options_.backing);
  if (!root) throw failure(errno, "open " + options_.backing);
  struct stat attributes;
  if (::fstat(root.get(), &attributes) < 0) throw failure(errno, "stat " + options_.backing);
  volume_->exclusive = options_.exclusive;
  volume_->times = options_.exclusive ? kExclusiveTimes : kSharedTimes;
  backing_type_ = describe(*volume_, root.get());
  inodes_ = std::make_unique<InodeTable>(volume_, std::move(root), attributes, descriptor_bound());
  // POSIX locks that the backing has go with a close.
  if (options_.shared_backing) volume_->closes_silently = false;
}

Session::~Session() { stop(); }

std::vector<int> Session::devices() const {
  std::vector<int> out;
  for (const auto& device : devices_) out.push_back(device.get());
  return out;
}

uint64_t Session::served(uint32_t opcode) const {
  return opcode < kOpcodeCount ? served_[opcode].load(std::memory_order_relaxed) : 0;
}

void Session::start() {
  if (options_.mount_point.empty()) {
    // What is shown as its source is read in others' namespaces: nothing of the host's.
    DetachedMount mount = mount_detached({{}, "insitu", options_.allow_other});
    detached_root_ = std::move(mount.root);
    device_number_ = device_of(detached_root_.get());
    return start_on(std::move(mount.device));
  }
  UniqueFd device =
      mount_fuse({options_.mount_point, options_.backing, options_.allow_other});
  mounted_ = true;
  device_number_ = mounted_device(options_.mount_point);
  start_on(std::move(device));
}

void Session::start_on(UniqueFd device) {
  devices_.push_back(std::move(device));
  try {
    negotiate();
    start_threads();
  } catch (...) {
    stop();
    throw;
  }
}

void Session::resume_on(UniqueFd device, const SessionState& state) {
  devices_.push_back(std::move(device));
  try {
    negotiated_ = state.negotiated;
    if (negotiated_.passthrough) passthrough_.enable(devices_[0].get());
    restore_state(*this, state);
    start_threads();
  } catch (...) {
    stop();
    throw;
  }
}

SessionState Session::hand_over() {
  const std::lock_guard lock(stop_mutex_);
  stopped_ = true;
  std::call_once(end_told_, [] {});
  notifier_->stop();
  join_threads();
  waiting_->stop();
  SessionState state = dump_state(*this);
  grafts_.leave();
  passthrough_.disable();
  devices_.clear();
  return state;
}

void Session::start_threads() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ::sigaction(wake_signal(), &action, nullptr);

  const unsigned usual =
      std::clamp(2 * std::thread::hardware_concurrency(), kMinThreads, kMaxThreads);
  const unsigned count = options_.threads == 0 ? usual : std::min(options_.threads, kMaxThreads);
  for (unsigned i = 1; i < count; ++i) devices_.push_back(clone_device(devices_[0].get()));
  notifier_ = std::make_unique<Notifier>(devices_[0].get());
  waiting_ = std::make_unique<WaitingTable>(*this);

  // The threads get no signal that is meant for the process, only ours.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigdelset(&all, wake_signal());
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  threads_.reserve(devices_.size());
  try {
    for (const auto& clone : devices_) {
      ++running_;
      threads_.emplace_back([this, fd = clone.get()] { serve(fd); });
    }
  } catch (...) {
    --running_;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Session::join_threads() {
  stopping_ = true;
  // A thread may be about to read when the signal comes, so until all are out.
  while (running_ > 0) {
    for (auto& thread : threads_) ::pthread_kill(thread.native_handle(), wake_signal());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (auto& thread : threads_) thread.join();
}

void Session::stop() {
  const std::lock_guard lock(stop_mutex_);
  if (stopped_) return;
  stopped_ = true;
  if (devices_.empty()) return;
  // Before the detach, so that nobody is told about our own unmount.
  std::call_once(end_told_, [] {});
  if (mounted_) {
    write_back();
    unmount_detached(options_.mount_point, device_number_);
  }
  if (detached_root_) {
    write_back();
    detached_root_.reset();
  }
  locks_.end();
  if (waiting_) waiting_->interrupt_all();
  // While threads still serve: a notice may wait for a lock that a request holds.
  if (notifier_) notifier_->stop();
  join_threads();
  // Those that began to wait since.
  if (waiting_) waiting_->interrupt_all();
  locks_.wait_for_none();
  if (waiting_) waiting_->stop();
  grafts_.end();
  passthrough_.disable();
  devices_.clear();
}

// What is mapped and was stored to but not written back would be lost with the connection.
// Passthrough has none of that, but for grafts: those pages are the backing file's.
void Session::write_back() {
  if (threads_.empty() || (passthrough_.enabled() && !grafts_.any())) return;
  // Somebody may have unmounted us already; another filesystem is not ours to wait for.
  const UniqueFd mounted =
      mounted_ ? open_mounted(options_.mount_point, device_number_) : UniqueFd{};
  const int place = mounted_ ? mounted.get() : detached_root_.get();
  if (place < 0) return;
  const UniqueFd root(::openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root) ::syncfs(root.get());
}

void Session::serve(int device) {
  ::pthread_setname_np(::pthread_self(), "insitu-fuse");
  prepare_serving_thread();
  // Not touched before it is needed: most requests are small, and there may be thousands of threads.
  const auto frame = std::make_unique_for_overwrite<std::byte[]>(kFrameBytes);
  const char* reason = "the mount point was unmounted";
  while (!stopping_) {
    const ssize_t size = ::read(device, frame.get(), kFrameBytes);
    if (size == 0) break;
    if (size < 0) {
      // ENOENT: the request was interrupted before it could be read.
      if (errno == EINTR || errno == EAGAIN || errno == ENOENT) continue;
      if (errno != ENODEV) reason = "reading the device failed";
      break;
    }
    fuse_in_header header;
    if (static_cast<size_t>(size) < sizeof header) continue;
    std::memcpy(&header, frame.get(), sizeof header);
    if (header.len != static_cast<size_t>(size) ||
        sizeof header + size_t{header.total_extlen} * 8 > header.len) {
      const fuse_out_header refusal{sizeof refusal, -EIO, header.unique};
      (void)!::write(device, &refusal, sizeof refusal);
      continue;
    }
    Request request(*this, device, {frame.get(), static_cast<size_t>(size)});
    try {
      dispatch(request);
    } catch (const Failure& failure) {
      if (!request.replied()) request.reply_error(failure.error());
    } catch (const std::bad_alloc&) {
      if (!request.replied()) request.reply_error(ENOMEM);
    } catch (...) {
      if (!request.replied()) request.reply_error(EIO);
    }
  }
  if (--running_ == 0 && !stopping_) ended(reason);
}

void Session::ended(const char* reason) {
  std::call_once(end_told_, [&] {
    if (on_end_) on_end_(reason);
  });
}

void Session::dispatch(Request& request) {
  const Opcode* opcode = find_opcode(request.opcode());
  if (!opcode) return void(request.reply_error(ENOSYS));
  served_[request.opcode()].fetch_add(1, std::memory_order_relaxed);
  if (request.body().size() < opcode->argument_bytes) return void(request.reply_error(EINVAL));

  const bool opens = request.opcode() == FUSE_OPEN || request.opcode() == FUSE_OPENDIR ||
                     request.opcode() == FUSE_CREATE || request.opcode() == FUSE_TMPFILE;
  if (opens && OpenCounts::of_process().full(request.caller().uid, files_.size() + directories_.size()))
    return void(request.reply_error(ENFILE));
  const bool about_node = request.opcode() != FUSE_FORGET &&
                          request.opcode() != FUSE_BATCH_FORGET &&
                          request.opcode() != FUSE_INTERRUPT;
  if (layer_ && about_node) {
    if (is_virtual(request.node())) return layer_->handle(request);
    if (const int error = crossing(request)) return void(request.reply_error(error));
  }
  const Admission admission(*this, request, *opcode);
  if (!admission) return;
  if (layer_ && about_node) {
    const bool closes = request.opcode() == FUSE_RELEASE || request.opcode() == FUSE_RELEASEDIR;
    if (layer_->has_stale() && !closes && layer_->is_stale(request.node()))
      return void(request.reply_error(ESTALE));
    if (opcode->naming != Naming::none && reserved(request, *opcode)) return;
  }
  if (admission.ends_at_disk()) return void(request.reply_error(EROFS));
  opcode->handler(*this, request);
  if (request.error() != 0) distrust(request, *opcode);
}

// An operation that was cut short by a fault may have been done all the same, or by half: the kernel
// drops what it believes about what was concerned. Refusals with a reason change nothing.
void Session::distrust(const Request& request, const Opcode& opcode) {
  constexpr std::array faults{EIO, ENOMEM, ENFILE, ENOSPC, EDQUOT, EROFS, ESTALE};
  if (std::ranges::find(faults, request.error()) == faults.end()) return;
  switch (request.opcode()) {
    case FUSE_OPEN:
    case FUSE_WRITE:
    case FUSE_FALLOCATE:
    case FUSE_SETATTR:
      return notifier_->invalidate_inode(request.node());
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
      return notifier_->invalidate_inode(request.node(), -1);
    case FUSE_COPY_FILE_RANGE:
    case wire::kCopyFileRange64:
      return notifier_->invalidate_inode(request.arg<fuse_copy_file_range_in>()->nodeid_out);
    default:
      break;
  }
  if (opcode.naming != Naming::change && opcode.naming != Naming::rename) return;
  const std::string_view name = request.name(opcode.argument_bytes);
  notifier_->invalidate_entry(request.node(), std::string(name));
  notifier_->invalidate_inode(request.node(), -1);
  if (request.opcode() == FUSE_LINK)
    notifier_->invalidate_inode(request.arg<fuse_link_in>()->oldnodeid, -1);
  if (opcode.naming != Naming::rename) return;
  const uint64_t to = request.arg<fuse_rename_in>()->newdir;
  notifier_->invalidate_entry(to, std::string(request.name(opcode.argument_bytes + name.size() + 1)));
  notifier_->invalidate_inode(to, -1);
}

// An operation between an ordinary node and a virtual one is refused; 0 for all others. EXDEV has
// the kernel copy by reading and writing.
int Session::crossing(const Request& request) {
  switch (request.opcode()) {
    case FUSE_LINK:
      return is_virtual(request.arg<fuse_link_in>()->oldnodeid) ? EPERM : 0;
    case FUSE_RENAME:
    case FUSE_RENAME2:
      return is_virtual(request.arg<fuse_rename_in>()->newdir) ? EPERM : 0;
    case FUSE_COPY_FILE_RANGE:
    case wire::kCopyFileRange64:
      return is_virtual(request.arg<fuse_copy_file_range_in>()->nodeid_out) ? EXDEV : 0;
    default:
      return 0;
  }
}

// Whether the virtual layer took a request that names something reserved.
bool Session::reserved(Request& request, const Opcode& opcode) {
  const std::string_view name = request.name(opcode.argument_bytes);
  if (opcode.naming != Naming::rename) {
    if (!layer_->is_reserved(name)) return false;
    const InodePtr parent = inodes_->find(request.node());
    if (!parent) return false;
    if (!may_have_programs(*parent)) return reserved_without_programs(request, *parent, name);
    return opcode.naming == Naming::lookup ? layer_->lookup(request, *parent, name)
                                           : layer_->change(request, *parent, name);
  }
  const std::string_view new_name = request.name(opcode.argument_bytes + name.size() + 1);
  if (!layer_->is_reserved(name) && !layer_->is_reserved(new_name)) return false;
  const bool with_flags = request.opcode() == FUSE_RENAME2;
  const InodePtr from = inodes_->find(request.node());
  const InodePtr to = inodes_->find(request.arg<fuse_rename_in>()->newdir);
  if (!from || !to) return false;
  if (!may_have_programs(*from))
    return layer_->is_reserved(new_name) ? reserved_without_programs(request, *to, new_name)
                                         : reserved_without_programs(request, *from, name);
  const uint32_t flags = with_flags ? request.arg<fuse_rename2_in>()->flags : 0;
  return layer_->rename(request, *from, name, *to, new_name, flags);
}

// In a graft that is granted without programs. A real entry is an ordinary one.
bool Session::reserved_without_programs(Request& request, const Inode& parent,
                                        std::string_view name) {
  const Descriptor directory = parent.descriptor();
  struct stat attributes;
  if (!directory || ::fstatat(directory->get(), name.data(), &attributes, AT_SYMLINK_NOFOLLOW) == 0)
    return false;
  const bool makes = request.opcode() != FUSE_LOOKUP && request.opcode() != FUSE_UNLINK &&
                     request.opcode() != FUSE_RMDIR;
  request.reply_error(makes ? EACCES : ENOENT);
  if (makes) layer_->not_granted(parent);
  return true;
}

}  // namespace insitu
