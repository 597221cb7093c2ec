#include "common/async_pool.h"

namespace insitu {
namespace {

// As much as one disk has use for.
constexpr size_t kMaxRunning = 4;
// So many that dozens of volumes may hang and the others are looked at all the same. Threads are made when
// all others are busy, and those that wait cost next to nothing.
constexpr size_t kMaxThreads = 256;
// Of a lane. Each waiting look is some hundred bytes; beyond this something is wrong above us.
constexpr size_t kMaxQueued = 16'384;

}  // namespace

AsyncPool& AsyncPool::of(Napi::Env env) {
  // The addon lives in one environment, the main thread's.
  static AsyncPool* pool = nullptr;
  if (pool == nullptr) {
    pool = new AsyncPool(env);
    env.AddCleanupHook([] {
      delete pool;
      pool = nullptr;
    });
  }
  return *pool;
}

AsyncPool::AsyncPool(Napi::Env env)
    : done_(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                          "insitu-pool", 0, 1)) {
  done_.Unref(env);
}

AsyncPool::~AsyncPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    lanes_.clear();
    ready_.clear();
  }
  queued_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  done_.Abort();
}

void AsyncPool::submit(Napi::Env env, Lane lane, std::unique_ptr<Task> task) {
  {
    const std::lock_guard lock(mutex_);
    Waiting& waiting = lanes_[lane];
    if (waiting.tasks.size() >= kMaxQueued) {
      task->refuse(env);
      return;
    }
    waiting.tasks.push_back(std::move(task));
    update(lane);
    if (ready_.size() > idle_ && threads_.size() < kMaxThreads)
      threads_.emplace_back([this] { serve(); });
  }
  queued_.notify_one();
  if (++pending_ == 1) done_.Ref(env);
}

void AsyncPool::update(Lane lane) {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return;
  Waiting& waiting = found->second;
  if (waiting.tasks.empty() && waiting.running == 0) {
    lanes_.erase(found);
  } else if (!waiting.tasks.empty() && waiting.running < kMaxRunning && !waiting.ready) {
    waiting.ready = true;
    ready_.push_back(lane);
  }
}

void AsyncPool::settled(Napi::Env env) {
  if (--pending_ == 0) done_.Unref(env);
}

void AsyncPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    queued_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
    --idle_;
    if (stopping_) return;
    const Lane lane = ready_.front();
    ready_.pop_front();
    Waiting& waiting = lanes_.at(lane);
    std::unique_ptr<Task> task = std::move(waiting.tasks.front());
    waiting.tasks.pop_front();
    waiting.ready = false;
    ++waiting.running;
    // Whoever has the front of the line took one task, and goes to its end with the next.
    update(lane);
    lock.unlock();
    task->run();
    Task* raw = task.release();
    const napi_status status =
        done_.NonBlockingCall(raw, [this](Napi::Env env, Napi::Function, Task* done) {
          const std::unique_ptr<Task> owned(done);
          settled(env);
          owned->settle(env);
        });
    if (status != napi_ok) delete raw;  // the environment is ending
    lock.lock();
    const auto found = lanes_.find(lane);
    if (found == lanes_.end()) continue;
    --found->second.running;
    update(lane);
  }
}

}  // namespace insitu
