#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace insitu {

class Session;

// Wakes a thread of a session out of a system call; its handler does nothing.
int wake_signal();

// Whether a signal that the thread `tid` has pending would end a wait on an ordinary file system as
// well as a user wants it to: anything fatal, and INT, TERM, HUP and QUIT also when handled.
// Unknown threads count as interrupted: nobody can be waiting there.
bool wants_interruption(uint32_t tid);

// The requests that wait for something else than the backing directory. The kernel sends INTERRUPT
// for a request only once, at the first signal whatever it is, and after that even SIGKILL frees
// the caller only when the request is answered. So each INTERRUPT is judged by the signals that are
// pending; one that should not end the wait is answered with EAGAIN a little later, which makes the
// kernel ask again.
class WaitingTable {
 public:
  explicit WaitingTable(Session& session);
  ~WaitingTable();

  // Called at most once and from any thread, with no lock held. It must answer the request (EINTR).
  using OnInterrupt = std::function<void()>;

  // What ends the wait: what wants_interruption says, or all that the kernel would wake a caller for.
  enum class Signals : uint8_t { ending, any };

  // Before the request's reply; an INTERRUPT that came earlier is asked again by the kernel. False when
  // the request was interrupted already, since a callback that it had before.
  bool on_interrupt(uint64_t unique, OnInterrupt callback, Signals signals = Signals::ending);
  size_t size() const;

  // The rest is for Request and Session.
  void add(uint64_t unique, uint32_t tid);
  void remove(uint64_t unique);
  // An INTERRUPT request with the number `unique` for the request `target`.
  void interrupt(uint64_t unique, uint64_t target);
  // The session ends: every wait is over.
  void interrupt_all();
  void stop();

 private:
  struct Waiter {
    uint32_t tid;
    OnInterrupt callback;
    Signals signals = Signals::ending;
  };
  struct Retry {
    std::chrono::steady_clock::time_point due;
    uint64_t unique;
  };
  void retry_loop();

  Session& session_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, Waiter> waiters_;
  std::deque<Retry> retries_;  // in order of their due times
  bool stopping_ = false;
  std::thread retrier_;
};

}  // namespace insitu
