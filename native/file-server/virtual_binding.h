#pragma once

#include <napi.h>

#include <memory>

#include "session.h"
#include "upcalls.h"
#include "virtual_files.h"
#include "volume.h"

namespace insitu {

// The virtual side of one mount. Outlives its session.
struct VirtualMount {
  VirtualMount(Napi::Env env, std::shared_ptr<Volume> mounted, ReservedNames names,
               const Napi::Function& dispatch)
      : volume(std::move(mounted)), upcalls(env, dispatch), files(volume, std::move(names), upcalls) {}

  // Before the session starts.
  void attach(const std::shared_ptr<Session>& session);
  // Before the session stops: who waits learns that the mount goes.
  void closing() { upcalls.close(); }
  // The session has stopped and still exists.
  void stopped();

  const std::shared_ptr<Volume> volume;
  Upcalls upcalls;
  VirtualFiles files;
  std::weak_ptr<Session> session;
};

// Adds `NativeVirtualFiles` to the addon's exports.
void register_virtual_files(Napi::Env env, Napi::Object exports);

// Null for undefined; throws Napi::TypeError for anything else that is no NativeVirtualFiles.
std::shared_ptr<VirtualMount> virtual_mount_of(const Napi::Value& value);

}  // namespace insitu
