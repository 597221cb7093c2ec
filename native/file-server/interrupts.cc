#include "interrupts.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <string_view>
#include <vector>

#include "../common/unique_fd.h"
#include "session.h"
#include "wire.h"

namespace insitu {

namespace {

using std::chrono::steady_clock;

// Long enough to cost nothing, short enough that Ctrl-C feels immediate.
constexpr auto kRetryDelay = std::chrono::milliseconds(100);

constexpr uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }
constexpr uint64_t kEndsWait =
    bit(SIGINT) | bit(SIGTERM) | bit(SIGHUP) | bit(SIGQUIT);
// Fatal ones show up as SIGKILL, but for these, which dump core and stay pending as they are.
constexpr uint64_t kCoreDumping = bit(SIGABRT) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) |
                                  bit(SIGSEGV) | bit(SIGSYS) | bit(SIGTRAP) | bit(SIGXCPU) |
                                  bit(SIGXFSZ);

uint64_t mask_of(std::string_view status, std::string_view field) {
  const size_t at = status.find(field);
  if (at == std::string_view::npos) return 0;
  const char* start = status.data() + at + field.size();
  uint64_t mask = 0;
  std::from_chars(start, status.data() + status.size(), mask, 16);
  return mask;
}

}  // namespace

int wake_signal() { return SIGRTMAX - 3; }

bool wants_interruption(uint32_t tid) {
  if (tid == 0) return true;  // invisible from here: better ended than stuck
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/status", tid);
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return true;
  char text[8192];
  const ssize_t size = ::read(file.get(), text, sizeof text);
  if (size <= 0) return true;
  const std::string_view status{text, static_cast<size_t>(size)};
  const uint64_t pending = mask_of(status, "\nSigPnd:\t") | mask_of(status, "\nShdPnd:\t");
  if (pending & bit(SIGKILL)) return true;
  const uint64_t deliverable =
      pending & ~mask_of(status, "\nSigBlk:\t") & ~mask_of(status, "\nSigIgn:\t");
  const uint64_t caught = mask_of(status, "\nSigCgt:\t");
  return (deliverable & kEndsWait) || (deliverable & kCoreDumping & ~caught);
}

WaitingTable::WaitingTable(Session& session)
    : session_(session), retrier_([this] { retry_loop(); }) {}

WaitingTable::~WaitingTable() { stop(); }

void WaitingTable::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (retrier_.joinable()) retrier_.join();
}

bool WaitingTable::on_interrupt(uint64_t unique, OnInterrupt callback, Signals signals) {
  const std::lock_guard lock(mutex_);
  const auto found = waiters_.find(unique);
  if (found == waiters_.end()) return false;
  found->second.callback = std::move(callback);
  found->second.signals = signals;
  return true;
}

size_t WaitingTable::size() const {
  const std::lock_guard lock(mutex_);
  return waiters_.size();
}

void WaitingTable::add(uint64_t unique, uint32_t tid) {
  const std::lock_guard lock(mutex_);
  waiters_.insert_or_assign(unique, Waiter{tid, {}, Signals::ending});
}

void WaitingTable::remove(uint64_t unique) {
  const std::lock_guard lock(mutex_);
  waiters_.erase(unique);
}

void WaitingTable::interrupt(uint64_t unique, uint64_t target) {
  std::unique_lock lock(mutex_);
  const auto found = waiters_.find(target);
  if (found != waiters_.end() && found->second.callback) {
    const uint32_t tid = found->second.tid;
    const bool any = found->second.signals == Signals::any;
    lock.unlock();
    const bool ends = any || wants_interruption(tid);
    lock.lock();
    const auto again = waiters_.find(target);
    if (ends && again != waiters_.end() && again->second.callback) {
      const OnInterrupt callback = std::move(again->second.callback);
      waiters_.erase(again);
      lock.unlock();
      callback();
      return;
    }
  }
  // Also when the request is not here: it may still be on its way into the table. The kernel drops
  // the answer if it is done.
  retries_.push_back({steady_clock::now() + kRetryDelay, unique});
  changed_.notify_one();
}

void WaitingTable::interrupt_all() {
  std::vector<OnInterrupt> callbacks;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [unique, waiter] : waiters_)
      if (waiter.callback) callbacks.push_back(std::move(waiter.callback));
    waiters_.clear();
  }
  for (const auto& callback : callbacks) callback();
}

void WaitingTable::retry_loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (retries_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const Retry next = retries_.front();
    if (steady_clock::now() < next.due) {
      changed_.wait_until(lock, next.due);
      continue;
    }
    retries_.pop_front();
    lock.unlock();
    const fuse_out_header header{sizeof header, -EAGAIN, next.unique};
    // The kernel takes it only on the device that the interrupted request was read from.
    for (const int device : session_.devices())
      if (::write(device, &header, sizeof header) >= 0) break;
    lock.lock();
  }
}

}  // namespace insitu
