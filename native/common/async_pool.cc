#include "common/async_pool.h"

namespace insitu {
namespace {

// Enough that a few hanging looks at a slow disk do not hold up the others.
constexpr size_t kMaxThreads = 8;
// Each waiting look is some hundred bytes; beyond this something is wrong above us.
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
    queue_.clear();
  }
  queued_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  done_.Abort();
}

void AsyncPool::submit(Napi::Env env, std::unique_ptr<Task> task) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kMaxQueued) {
      task->refuse(env);
      return;
    }
    queue_.push_back(std::move(task));
    if (queue_.size() > idle_ && threads_.size() < kMaxThreads)
      threads_.emplace_back([this] { serve(); });
  }
  queued_.notify_one();
  if (++pending_ == 1) done_.Ref(env);
}

void AsyncPool::settled(Napi::Env env) {
  if (--pending_ == 0) done_.Unref(env);
}

void AsyncPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    queued_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (stopping_) return;
    std::unique_ptr<Task> task = std::move(queue_.front());
    queue_.pop_front();
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
  }
}

}  // namespace insitu
