#include "graft_binding.h"

#include <cerrno>
#include <functional>
#include <string>
#include <system_error>

namespace insitu {

namespace {

// Runs on a thread of Node's pool; a std::system_error becomes an Error with `errno`.
class GraftWorker : public Napi::AsyncWorker {
 public:
  // `work` returns the number that the promise resolves with, 0 for undefined.
  GraftWorker(Napi::Env env, std::function<uint32_t()> work)
      : Napi::AsyncWorker(env), deferred_(env), work_(std::move(work)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      result_ = work_();
    } catch (const std::system_error& failure) {
      error_ = failure.code().value();
      SetError(failure.what());
    } catch (const std::exception& failure) {
      error_ = EIO;
      SetError(failure.what());
    }
  }
  void OnOK() override {
    if (result_ == 0)
      deferred_.Resolve(Env().Undefined());
    else
      deferred_.Resolve(Napi::Number::New(Env(), result_));
  }
  void OnError(const Napi::Error& error) override {
    error.Set("errno", Napi::Number::New(Env(), error_));
    deferred_.Reject(error.Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::function<uint32_t()> work_;
  uint32_t result_ = 0;
  int error_ = 0;
};

Napi::Value queue(Napi::Env env, std::function<uint32_t()> work) {
  auto* worker = new GraftWorker(env, std::move(work));
  const auto promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace

Napi::Value graft_binding(const Napi::CallbackInfo& info,
                          const std::shared_ptr<Session>& session) {
  const auto options = info[4].As<Napi::Object>();
  GraftRequest request;
  request.tree = info[0].As<Napi::Number>().Uint32Value();
  request.path = info[1].As<Napi::String>().Utf8Value();
  request.name = info[2].As<Napi::String>().Utf8Value();
  request.backing = info[3].As<Napi::String>().Utf8Value();
  request.read_only = options.Get("readOnly").ToBoolean();
  request.revocable = options.Get("revocable").ToBoolean();
  const Napi::Value quota = options.Get("quotaBytes");
  if (quota.IsNumber())
    request.quota_bytes = static_cast<uint64_t>(quota.As<Napi::Number>().Int64Value());
  return queue(info.Env(), [session, request] { return session->grafts().graft(request); });
}

Napi::Value revoke_binding(const Napi::CallbackInfo& info,
                           const std::shared_ptr<Session>& session) {
  const uint32_t graft = info[0].As<Napi::Number>().Uint32Value();
  return queue(info.Env(), [session, graft] {
    session->grafts().revoke(graft);
    return 0u;
  });
}

Napi::Array graft_statistics(Napi::Env env, const Session& session) {
  const auto grafts = session.grafts().statistics();
  auto out = Napi::Array::New(env, grafts.size());
  for (uint32_t i = 0; i < grafts.size(); ++i) {
    const GraftStatistics& graft = grafts[i];
    auto entry = Napi::Object::New(env);
    entry.Set("id", graft.id);
    entry.Set("within", graft.parent);
    entry.Set("path", graft.path);
    entry.Set("backing", graft.backing);
    entry.Set("readOnly", graft.read_only);
    entry.Set("revocable", graft.revocable);
    entry.Set("nodes", static_cast<double>(graft.nodes));
    entry.Set("openHandles", static_cast<double>(graft.open));
    entry.Set("quotaBytes", graft.quota_bytes
                                ? Napi::Number::New(env, static_cast<double>(*graft.quota_bytes))
                                : env.Undefined());
    entry.Set("usedBytes", graft.quota_bytes
                               ? Napi::Number::New(env, static_cast<double>(graft.used_bytes))
                               : env.Undefined());
    out.Set(i, entry);
  }
  return out;
}

}  // namespace insitu
