#pragma once

#include <napi.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/failure.h"

namespace insitu {

// Work off the event loop that may block on a disk, on threads of our own: libuv has four, and a
// slow volume would take them all. What may block together is a *lane* (a volume, say), and a lane has
// only a few of the threads at a time, so that one that hangs holds up no other. Started when they are
// needed; ended with the environment.
class AsyncPool {
 public:
  // Any address or number that stands for what blocks together.
  using Lane = uintptr_t;

  class Task {
   public:
    virtual ~Task() = default;
    virtual void run() noexcept = 0;           // on a thread of the pool
    virtual void settle(Napi::Env env) = 0;    // on the event loop
    virtual void refuse(Napi::Env env) = 0;    // on the event loop, instead of both
  };

  // The pool of this environment; made at the first call.
  static AsyncPool& of(Napi::Env env);

  // On the event loop.
  void submit(Napi::Env env, Lane lane, std::unique_ptr<Task> task);

 private:
  explicit AsyncPool(Napi::Env env);
  ~AsyncPool();
  struct Waiting {
    std::deque<std::unique_ptr<Task>> tasks;
    size_t running = 0;
    bool ready = false;  // it is in ready_
  };

  void serve();
  void settled(Napi::Env env);
  // With mutex_ held: after a task came or ended.
  void update(Lane lane);

  Napi::ThreadSafeFunction done_;
  size_t pending_ = 0;  // only on the event loop: while there are some, the process stays
  std::mutex mutex_;
  std::condition_variable queued_;
  std::unordered_map<Lane, Waiting> lanes_;
  std::deque<Lane> ready_;  // those that have a task and may run one, in turn
  size_t idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

inline AsyncPool::Lane lane_of(const void* what) { return reinterpret_cast<uintptr_t>(what); }
// For what is not open yet.
inline AsyncPool::Lane lane_of(const std::string& path) { return std::hash<std::string>{}(path); }

// An Error with the errno as a number, as Node's own have it; the facade makes a VfsError of it.
inline Napi::Value to_error(Napi::Env env, const Failure& failure) {
  Napi::Object error = Napi::Error::New(env, failure.what()).Value();
  error.Set("errno", Napi::Number::New(env, failure.error()));
  return error;
}

// Runs `work()` here and now, for what takes less time than the way to a thread and back.
template <class Work, class Convert>
Napi::Value run_here(Napi::Env env, Work work, Convert convert) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  try {
    auto result = work();
    deferred.Resolve(convert(env, result));
  } catch (const Failure& failure) {
    deferred.Reject(to_error(env, failure));
  } catch (const std::exception& error) {
    deferred.Reject(to_error(env, Failure(EIO, error.what())));
  }
  return deferred.Promise();
}

// Runs `work()` on the pool and resolves with `convert(env, result)`; a Failure rejects.
template <class Work, class Convert>
Napi::Value run_async(Napi::Env env, AsyncPool::Lane lane, Work work, Convert convert) {
  using Result = std::invoke_result_t<Work&>;
  class Running final : public AsyncPool::Task {
   public:
    Running(Napi::Env env, Work work, Convert convert)
        : deferred_(env), work_(std::move(work)), convert_(std::move(convert)) {}
    Napi::Promise promise() const { return deferred_.Promise(); }
    void run() noexcept override {
      try {
        result_.emplace(work_());
      } catch (const Failure& failure) {
        failure_.emplace(failure);
      } catch (const std::exception& error) {
        failure_.emplace(EIO, error.what());
      }
    }
    void settle(Napi::Env env) override {
      if (failure_)
        deferred_.Reject(to_error(env, *failure_));
      else
        deferred_.Resolve(convert_(env, *result_));
    }
    void refuse(Napi::Env env) override {
      deferred_.Reject(to_error(env, Failure(EAGAIN, "too many looks at the volume are queued")));
    }

   private:
    Napi::Promise::Deferred deferred_;
    Work work_;
    Convert convert_;
    std::optional<Result> result_;
    std::optional<Failure> failure_;
  };
  auto task = std::make_unique<Running>(env, std::move(work), std::move(convert));
  const Napi::Promise promise = task->promise();
  AsyncPool::of(env).submit(env, lane, std::move(task));
  return promise;
}

}  // namespace insitu
