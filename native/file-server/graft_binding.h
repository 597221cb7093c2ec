#pragma once

#include <napi.h>

#include <memory>

#include "session.h"

namespace insitu {

// (tree: number, path, name, backing: string, {readOnly, revocable, quotaBytes}) => Promise<number>
Napi::Value graft_binding(const Napi::CallbackInfo& info, const std::shared_ptr<Session>& session);
// (at, backing, subpath, options) => Promise<number>; `at` is relative to the mount.
// (graft: number) => Promise<void>, once the kernel shows it.
Napi::Value shown_binding(const Napi::CallbackInfo& info, const std::shared_ptr<Session>& session);
Napi::Value graft_at_binding(const Napi::CallbackInfo& info,
                             const std::shared_ptr<Session>& session);
// (graft: number) => Promise<void>
// {prefix, volume} of a graft with programs, else undefined.
Napi::Value graft_programs_binding(const Napi::CallbackInfo& info,
                                   const std::shared_ptr<Session>& session);
Napi::Value revoke_binding(const Napi::CallbackInfo& info, const std::shared_ptr<Session>& session);
// (graft, longestMs: number) => Promise<boolean>: nothing that changes is under way, and none begins.
Napi::Value hold_writes_binding(const Napi::CallbackInfo& info,
                                const std::shared_ptr<Session>& session);
// (graft: number)
Napi::Value let_write_binding(const Napi::CallbackInfo& info,
                              const std::shared_ptr<Session>& session);
// () => {graft, counts: Float64Array}[], of those that served something.
Napi::Value latencies_binding(const Napi::CallbackInfo& info,
                              const std::shared_ptr<Session>& session);
// () => {graft, usedBytes}[], of those that have a quota.
Napi::Value usage_binding(const Napi::CallbackInfo& info, const std::shared_ptr<Session>& session);
// Of each graft, for `statistics()`.
Napi::Array graft_statistics(Napi::Env env, const Session& session);
// (graft: number) => the same of that one and of those that stand in it, outer ones first.
Napi::Value grafts_within_binding(const Napi::CallbackInfo& info,
                                  const std::shared_ptr<Session>& session);

}  // namespace insitu
