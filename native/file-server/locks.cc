#include "locks.h"

#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "open_counts.h"
#include "reopen.h"
#include "session.h"

namespace insitu {

namespace {

// Threads, each asleep in the backing filesystem. Over it, a lock that somebody holds is ENOLCK.
constexpr size_t kMaxWaits = 512;
constexpr size_t kMaxWaitsOfUser = kMaxWaits / 2;  // root could do worse by other means

struct flock as_flock(const Locks::Range& range) {
  struct flock out{};
  out.l_type = range.type;
  out.l_whence = SEEK_SET;
  out.l_start = range.start;
  out.l_len = range.length;
  return out;
}

int64_t end_of(const Locks::Range& range) {
  return range.length == 0 ? INT64_MAX : range.start + range.length - 1;
}

}  // namespace

struct Locks::Description {
  UniqueFd fd;
  uint64_t handle;
  uint32_t uid;
  // Roughly what it holds, to name a holder to those who ask; guarded by the table's mutex.
  uint32_t pid = 0;
  int64_t first = INT64_MAX;
  int64_t last = -1;

  Description(UniqueFd opened, uint64_t through, uint32_t user)
      : fd(std::move(opened)), handle(through), uid(user) {
    OpenCounts::of_process().add(uid);
  }
  ~Description() { OpenCounts::of_process().remove(uid); }
};

// One request for a lock; shared by the thread that waits for it and whoever interrupts that.
struct Locks::Wait {
  DescriptionPtr description;
  bool whole_file;  // flock(2)
  int operation;    // of flock(2)
  Range range;      // of fcntl(2)
  std::unique_ptr<Request> request{};

  std::mutex mutex{};  // guards what follows
  pthread_t thread{};
  bool waiting = false;
  bool interrupted = false;

  // 0 or an errno.
  int lock(bool and_wait) const {
    const int fd = description->fd.get();
    if (whole_file)
      return ::flock(fd, and_wait ? operation : operation | LOCK_NB) < 0 ? errno : 0;
    struct flock lock = as_flock(range);
    return ::fcntl(fd, and_wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock) < 0 ? errno : 0;
  }
};

Locks::~Locks() { wait_for_none(); }

void Locks::wait_for_none() {
  std::unique_lock lock(mutex_);
  none_waits_.wait(lock, [this] { return waits_ == 0; });
}

Locks::DescriptionPtr Locks::find(const Owner& owner) {
  const std::lock_guard lock(mutex_);
  const auto found = descriptions_.find({owner.inode->node(), owner.id});
  return found == descriptions_.end() ? nullptr : found->second;
}

Locks::DescriptionPtr Locks::find_or_open(const Owner& owner, bool to_write, int& error) {
  if (auto found = find(owner)) return found;
  if (OpenCounts::of_process().full(owner.uid, 0)) {
    error = ENOLCK;
    return nullptr;
  }
  const Descriptor path = owner.inode->descriptor();
  if (!path) {
    error = errno;
    return nullptr;
  }
  // What cannot be written can be locked for reading.
  UniqueFd fd;
  if (to_write || owner.writes) fd = reopen(path->get(), O_RDWR | O_NONBLOCK);
  if (!fd) fd = reopen(path->get(), O_RDONLY | O_NONBLOCK);
  if (!fd) {
    error = errno;
    return nullptr;
  }
  auto made = std::make_shared<Description>(std::move(fd), owner.handle, owner.uid);
  const std::lock_guard lock(mutex_);
  return descriptions_.try_emplace({owner.inode->node(), owner.id}, std::move(made)).first->second;
}

// Whose locks may cover `range`, as far as they are of this mount.
uint32_t Locks::holder(const Owner& asker, const Range& range) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, description] : descriptions_)
    if (key.node == asker.inode->node() && key.owner != asker.id &&
        description->first <= end_of(range) && range.start <= description->last)
      return description->pid;
  return 0;
}

int Locks::test(const Owner& owner, Range& range) {
  int error = 0;
  const DescriptionPtr description = find_or_open(owner, true, error);
  if (!description) return error;
  struct flock lock = as_flock(range);
  if (::fcntl(description->fd.get(), F_OFD_GETLK, &lock) < 0) return errno;
  range.type = lock.l_type;
  if (lock.l_type == F_UNLCK) return 0;
  range.start = lock.l_start;
  range.length = lock.l_len;
  range.pid = lock.l_pid > 0 ? static_cast<uint32_t>(lock.l_pid) : holder(owner, range);
  return 0;
}

int Locks::lock(const Owner& owner, const Range& range) {
  const bool unlocks = range.type == F_UNLCK;
  int error = 0;
  const DescriptionPtr description = unlocks ? find(owner) : find_or_open(owner, true, error);
  if (!description) return error;  // 0: nothing to unlock
  error = Wait{description, false, 0, range}.lock(false);
  if (error == 0 && !unlocks) locked(*description, range);
  return error;
}

int Locks::flock(const Owner& owner, int operation) {
  int error = 0;
  const DescriptionPtr description =
      operation == LOCK_UN ? find(owner) : find_or_open(owner, false, error);
  return description ? Wait{description, true, operation, {}}.lock(false) : error;
}

void Locks::lock_and_wait(const Owner& owner, const Range& range, Request& request) {
  int error = lock(owner, range);
  DescriptionPtr description;
  if (error == EAGAIN || error == EACCES) description = find_or_open(owner, true, error);
  if (!description) return void(request.reply_error(error));
  start(std::shared_ptr<Wait>(new Wait{description, false, 0, range}), request);
}

void Locks::flock_and_wait(const Owner& owner, int operation, Request& request) {
  int error = flock(owner, operation);
  DescriptionPtr description;
  if (error == EWOULDBLOCK) description = find_or_open(owner, false, error);
  if (!description) return void(request.reply_error(error));
  start(std::shared_ptr<Wait>(new Wait{description, true, operation, {}}), request);
}

void Locks::locked(Description& description, const Range& range) {
  const std::lock_guard lock(mutex_);
  description.pid = range.pid;
  description.first = std::min(description.first, range.start);
  description.last = std::max(description.last, end_of(range));
}

bool Locks::may_wait(uint32_t uid) {
  const std::lock_guard lock(mutex_);
  size_t& own = waits_of_[uid];
  if (waits_ >= kMaxWaits || (uid != 0 && own >= kMaxWaitsOfUser)) return false;
  ++own;
  ++waits_;
  return true;
}

void Locks::start(std::shared_ptr<Wait> wait, Request& request) {
  if (!may_wait(wait->description->uid)) return void(request.reply_error(ENOLCK));
  WaitingTable& waiting = request.session().waiting();
  const uint64_t unique = request.unique();
  wait->request = std::move(request).park();
  waiting.on_interrupt(unique, [wait] { interrupt(*wait); }, WaitingTable::Signals::any);
  try {
    std::thread([this, wait] { wait_for(*wait); }).detach();
  } catch (const std::system_error&) {
    wait->request->reply_error(ENOLCK);
    finished(wait->description->uid);
  }
}

void Locks::wait_for(Wait& wait) {
  {
    const std::lock_guard lock(wait.mutex);
    wait.thread = ::pthread_self();
    wait.waiting = true;
  }
  int error = EINTR;
  // Also for a signal that came by itself; interrupt() goes on until it is noticed.
  while (error == EINTR) {
    {
      const std::lock_guard lock(wait.mutex);
      if (wait.interrupted) break;
    }
    error = wait.lock(true);
  }
  {
    const std::lock_guard lock(wait.mutex);
    wait.waiting = false;
  }
  if (error == 0 && !wait.whole_file) locked(*wait.description, wait.range);
  wait.request->reply_error(error == EINTR && ending_ ? ENOTCONN : error);
  wait.request.reset();
  finished(wait.description->uid);
}

void Locks::finished(uint32_t uid) {
  const std::lock_guard lock(mutex_);
  if (const auto own = waits_of_.find(uid); own != waits_of_.end() && --own->second == 0)
    waits_of_.erase(own);
  if (--waits_ == 0) none_waits_.notify_all();
}

// The signal may come just before the thread falls asleep, so until it is awake.
void Locks::interrupt(Wait& wait) {
  for (;;) {
    {
      const std::lock_guard lock(wait.mutex);
      wait.interrupted = true;
      if (!wait.waiting) return;
      ::pthread_kill(wait.thread, wake_signal());
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

void Locks::closed(const Inode& inode, uint64_t owner) {
  DescriptionPtr description;  // closes after the lock is free
  const std::lock_guard lock(mutex_);
  const auto found = descriptions_.find({inode.node(), owner});
  if (found == descriptions_.end()) return;
  description = found->second;
  // Another thread of the process may be about to get one more through it.
  if (description.use_count() > 2) {
    struct flock all = as_flock({F_UNLCK, 0, 0, 0});
    ::fcntl(description->fd.get(), F_OFD_SETLK, &all);
  } else {
    descriptions_.erase(found);
  }
}

void Locks::released(uint64_t handle) {
  std::vector<DescriptionPtr> closing;
  const std::lock_guard lock(mutex_);
  for (auto at = descriptions_.begin(); at != descriptions_.end();) {
    if (at->second->handle != handle) {
      ++at;
      continue;
    }
    closing.push_back(std::move(at->second));
    at = descriptions_.erase(at);
  }
}

}  // namespace insitu
