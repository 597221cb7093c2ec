#include "graft_binding.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "../common/async_pool.h"
#include "graft_way.h"
#include "volume_binding.h"

namespace insitu {

namespace {

// On the pool, as it may wait for a disk; what goes wrong becomes an Error with `errno`.
template <class Work, class Convert>
Napi::Value queue(Napi::Env env, AsyncPool::Lane lane, Work work, Convert convert) {
  return run_async(
      env, lane,
      [work = std::move(work)]() mutable {
        try {
          return work();
        } catch (const std::system_error& failure) {
          throw Failure(failure.code().value(), failure.what());
        }
      },
      std::move(convert));
}

void set_options(GraftRequest& request, const Napi::Object& options) {
  request.read_only = options.Get("readOnly").ToBoolean();
  request.revocable = options.Get("revocable").ToBoolean();
  const Napi::Value quota = options.Get("quotaBytes");
  if (quota.IsNumber())
    request.quota_bytes = static_cast<uint64_t>(quota.As<Napi::Number>().Int64Value());
  request.compute = options.Get("compute").ToBoolean();
  request.identity = options.Get("identity").As<Napi::String>().Utf8Value();
}

// All of one mount's grafts, whatever they are of, wait for each other only.
Napi::Value make(Napi::Env env, std::shared_ptr<Session> session, GraftRequest request,
                 std::optional<std::string> at) {
  const AsyncPool::Lane lane = lane_of(session.get()) + 2;
  return queue(
      env, lane,
      [session = std::move(session), request = std::move(request), at = std::move(at)]() mutable {
        if (at) {
          GraftWay way = make_way(*session, *at);
          request.tree = way.tree;
          request.path = std::move(way.path);
          request.name = std::move(way.name);
        }
        return session->grafts().graft(request);
      },
      [](Napi::Env env, uint32_t graft) -> Napi::Value { return Napi::Number::New(env, graft); });
}

}  // namespace

Napi::Value graft_binding(const Napi::CallbackInfo& info,
                          const std::shared_ptr<Session>& session) {
  GraftRequest request;
  request.tree = info[0].As<Napi::Number>().Uint32Value();
  request.path = info[1].As<Napi::String>().Utf8Value();
  request.name = info[2].As<Napi::String>().Utf8Value();
  request.backing = info[3].As<Napi::String>().Utf8Value();
  set_options(request, info[4].As<Napi::Object>());
  return make(info.Env(), session, std::move(request), std::nullopt);
}

Napi::Value graft_at_binding(const Napi::CallbackInfo& info,
                             const std::shared_ptr<Session>& session) {
  const std::string at = info[0].As<Napi::String>().Utf8Value();
  GraftRequest request;
  request.backing = info[1].As<Napi::String>().Utf8Value();
  request.subpath = info[2].As<Napi::String>().Utf8Value();
  set_options(request, info[3].As<Napi::Object>());
  return make(info.Env(), session, std::move(request), at);
}

Napi::Value shown_binding(const Napi::CallbackInfo& info, const std::shared_ptr<Session>& session) {
  // Longer only behind one who holds the directory's lock; everybody else sees it by then.
  constexpr unsigned kShownMs = 2'000;
  const uint32_t graft = info[0].As<Napi::Number>().Uint32Value();
  const auto convert = [](Napi::Env env, bool) -> Napi::Value { return env.Undefined(); };
  // Nearly always by the time that somebody asks.
  if (session->grafts().is_shown(graft, 0))
    return run_here(info.Env(), [] { return true; }, convert);
  return queue(
      info.Env(), lane_of(session.get()) + 2,
      [session, graft] { return session->grafts().is_shown(graft, kShownMs); }, convert);
}

Napi::Value revoke_binding(const Napi::CallbackInfo& info,
                           const std::shared_ptr<Session>& session) {
  const uint32_t graft = info[0].As<Napi::Number>().Uint32Value();
  return queue(
      info.Env(), lane_of(session.get()),
      [session, graft] {
        session->grafts().revoke(graft);
        return true;
      },
      [](Napi::Env env, bool) -> Napi::Value { return env.Undefined(); });
}

Napi::Value hold_writes_binding(const Napi::CallbackInfo& info,
                                const std::shared_ptr<Session>& session) {
  const TreePtr tree = session->grafts().tree(info[0].As<Napi::Number>().Uint32Value());
  const std::chrono::milliseconds longest(info[1].As<Napi::Number>().Uint32Value());
  // A lane for each: they wait for what is under way, one beside the other.
  return queue(
      info.Env(), lane_of(tree.get()), [tree, longest] { return tree && tree->writes.shut(longest); },
      [](Napi::Env env, bool held) -> Napi::Value { return Napi::Boolean::New(env, held); });
}

Napi::Value let_write_binding(const Napi::CallbackInfo& info,
                              const std::shared_ptr<Session>& session) {
  const TreePtr tree = session->grafts().tree(info[0].As<Napi::Number>().Uint32Value());
  if (tree) tree->writes.open();
  return info.Env().Undefined();
}

Napi::Value latencies_binding(const Napi::CallbackInfo& info,
                              const std::shared_ptr<Session>& session) {
  auto out = Napi::Array::New(info.Env());
  for (const GraftPtr& graft : session->grafts().all()) {
    const Latencies& latencies = graft->tree->latencies;
    std::array<double, Latencies::kBuckets> counts;
    double total = 0;
    for (size_t i = 0; i < counts.size(); ++i)
      total += counts[i] = static_cast<double>(latencies.count(i));
    if (total == 0) continue;
    auto values = Napi::Float64Array::New(info.Env(), counts.size());
    std::ranges::copy(counts, values.Data());
    auto entry = Napi::Object::New(info.Env());
    entry.Set("graft", graft->tree->id);
    entry.Set("counts", values);
    out.Set(out.Length(), entry);
  }
  return out;
}

Napi::Value usage_binding(const Napi::CallbackInfo& info, const std::shared_ptr<Session>& session) {
  auto out = Napi::Array::New(info.Env());
  for (const GraftPtr& graft : session->grafts().all()) {
    if (!graft->tree->quota) continue;
    auto entry = Napi::Object::New(info.Env());
    entry.Set("graft", graft->tree->id);
    entry.Set("usedBytes", static_cast<double>(graft->tree->quota->used()));
    out.Set(out.Length(), entry);
  }
  return out;
}

Napi::Value graft_programs_binding(const Napi::CallbackInfo& info,
                                   const std::shared_ptr<Session>& session) {
  const TreePtr tree = session->grafts().tree(info[0].As<Napi::Number>().Uint32Value());
  if (!tree || !tree->programs) return info.Env().Undefined();
  auto out = Napi::Object::New(info.Env());
  out.Set("prefix", tree->key_prefix);
  out.Set("volume", volume_value(tree->programs));
  return out;
}

namespace {

Napi::Array to_array(Napi::Env env, const std::vector<GraftStatistics>& grafts) {
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
    entry.Set("compute", graft.compute);
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

}  // namespace

Napi::Array graft_statistics(Napi::Env env, const Session& session) {
  return to_array(env, session.grafts().statistics());
}

Napi::Value grafts_within_binding(const Napi::CallbackInfo& info,
                                  const std::shared_ptr<Session>& session) {
  const uint32_t graft = info[0].As<Napi::Number>().Uint32Value();
  return to_array(info.Env(), session->grafts().statistics(graft));
}

}  // namespace insitu
