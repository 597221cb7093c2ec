#include "notifier.h"

#include <sys/uio.h>
#include <unistd.h>

#include <chrono>

#include "wire.h"

namespace insitu {

namespace {

// A program's change touches a handful of names; only a flood of them gets here, and is then
// answered by looking up everything again.
constexpr size_t kQueueBound = 16'384;
// Of wake-ups and callbacks, which have to come through.
constexpr size_t kFirmBound = 4 * kQueueBound;

// No notice of the kernel's has this number.
constexpr int kCallback = 0;

int write_notice(int device, int code, const void* payload, size_t size, const std::string* name) {
  fuse_out_header header{0, code, 0};
  // Names go with their final NUL.
  const size_t name_size = name ? name->size() + 1 : 0;
  header.len = static_cast<uint32_t>(sizeof header + size + name_size);
  const iovec parts[] = {
      {&header, sizeof header},
      {const_cast<void*>(payload), size},
      {const_cast<char*>(name ? name->c_str() : ""), name_size},
  };
  return ::writev(device, parts, name ? 3 : 2) < 0 ? errno : 0;
}

}  // namespace

Notifier::Notifier(int device) : device_(device), thread_([this] { loop(); }) {}

Notifier::~Notifier() { stop(); }

void Notifier::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Notifier::invalidate_entry(uint64_t parent, std::string name) {
  push({FUSE_NOTIFY_INVAL_ENTRY, parent, 0, 0, std::move(name), {}});
}

void Notifier::deleted(uint64_t parent, uint64_t child, std::string name) {
  push({FUSE_NOTIFY_DELETE, parent, child, 0, std::move(name), {}});
}

void Notifier::invalidate_inode(uint64_t node, int64_t offset, int64_t length) {
  push({FUSE_NOTIFY_INVAL_INODE, node, static_cast<uint64_t>(offset), length, {}, {}});
}

void Notifier::sweep(std::vector<uint64_t> nodes) {
  after([this, nodes = std::move(nodes)] {
    for (const uint64_t node : nodes) {
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
      }
      send({FUSE_NOTIFY_INVAL_INODE, node, 0, 0, {}, {}});
    }
  });
}

void Notifier::drop_attributes(uint64_t node) const {
  send({FUSE_NOTIFY_INVAL_INODE, node, static_cast<uint64_t>(int64_t{-1}), 0, {}, {}});
}

void Notifier::expire_names() const {
  write_notice(device_, wire::kNotifyIncEpoch, nullptr, 0, nullptr);
}

void Notifier::wake_poll(uint64_t kernel_handle) {
  push({FUSE_NOTIFY_POLL, kernel_handle, 0, 0, {}, {}});
}

int Notifier::forget_size(uint64_t node) const {
  // Nothing is stored, behind the end of any file.
  constexpr uint64_t beyond = uint64_t{1} << 61;
  const fuse_notify_store_out out{node, beyond, 0, 0};
  return write_notice(device_, FUSE_NOTIFY_STORE, &out, sizeof out, nullptr);
}

void Notifier::after(std::function<void()> callback) {
  push({kCallback, 0, 0, 0, {}, std::move(callback)});
}

void Notifier::push(Notice notice) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    // Nobody would ask for a poll's wake-up again. Who adds callbacks looks at is_behind before.
    const bool firm = notice.code == FUSE_NOTIFY_POLL || notice.code == kCallback;
    if (queue_.size() >= kQueueBound && !firm) {
      overflowed_ = true;
    } else if (queue_.size() >= kFirmBound && notice.code == FUSE_NOTIFY_POLL) {
      return;  // of one who polls on and on and has kept the kernel from telling it for so long
    } else {
      queue_.push_back(std::move(notice));
      ++pushed_;
    }
  }
  changed_.notify_one();
}

uint64_t Notifier::queued() const {
  const std::lock_guard lock(mutex_);
  return pushed_;
}

bool Notifier::is_behind() const {
  const std::lock_guard lock(mutex_);
  return queue_.size() >= kQueueBound;
}

std::chrono::milliseconds Notifier::stuck_for() const {
  const std::lock_guard lock(mutex_);
  if (!sending_since_) return {};
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               *sending_since_);
}

bool Notifier::wait_for(uint64_t queued, unsigned timeout_ms) {
  std::unique_lock lock(mutex_);
  return drained_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                           [&] { return sent_ >= queued || stopping_; });
}

void Notifier::send(const Notice& notice) const {
  switch (notice.code) {
    case kCallback:
      return notice.callback();
    case FUSE_NOTIFY_INVAL_ENTRY: {
      const fuse_notify_inval_entry_out out{
          notice.first, static_cast<uint32_t>(notice.name.size()), 0};
      write_notice(device_, notice.code, &out, sizeof out, &notice.name);
      return;
    }
    case FUSE_NOTIFY_DELETE: {
      const fuse_notify_delete_out out{notice.first, notice.second,
                                       static_cast<uint32_t>(notice.name.size()), 0};
      write_notice(device_, notice.code, &out, sizeof out, &notice.name);
      return;
    }
    case FUSE_NOTIFY_INVAL_INODE: {
      const fuse_notify_inval_inode_out out{
          notice.first, static_cast<int64_t>(notice.second), notice.third};
      write_notice(device_, notice.code, &out, sizeof out, nullptr);
      return;
    }
    case FUSE_NOTIFY_POLL: {
      const fuse_notify_poll_wakeup_out out{notice.first};
      write_notice(device_, notice.code, &out, sizeof out, nullptr);
      return;
    }
    default:
      return;
  }
}

void Notifier::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || overflowed_ || !queue_.empty(); });
    if (stopping_) break;
    if (queue_.empty()) {
      overflowed_ = false;
      lock.unlock();
      expire_names();
      lock.lock();
      continue;
    }
    const Notice notice = std::move(queue_.front());
    queue_.pop_front();
    sending_since_ = std::chrono::steady_clock::now();
    lock.unlock();
    send(notice);
    lock.lock();
    sending_since_.reset();
    ++sent_;
    if (queue_.empty()) drained_.notify_all();
  }
  drained_.notify_all();
}

}  // namespace insitu
