#include "binding.h"

#include <memory>
#include <string>
#include <system_error>

#include "../common/async_pool.h"
#include "graft_binding.h"
#include "mount.h"
#include "session.h"
#include "virtual_binding.h"
#include "wire.h"

namespace insitu {

namespace {

bool boolean(const Napi::Object& options, const char* name) {
  return options.Get(name).ToBoolean().Value();
}

std::string text(const Napi::Object& options, const char* name) {
  return options.Get(name).ToString().Utf8Value();
}

IdMaps ids_of(Napi::Env env, const Napi::Object& object) {
  const auto users = IdMap::parse(text(object, "users"));
  const auto groups = IdMap::parse(text(object, "groups"));
  if (!users || !groups) throw Napi::TypeError::New(env, "ids are VOLUME:HOST:COUNT,…");
  return {*users, *groups};
}

class NativeFileServer : public Napi::ObjectWrap<NativeFileServer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeFileServer",
                       {
                           InstanceMethod<&NativeFileServer::start>("start"),
                           InstanceMethod<&NativeFileServer::negotiated>("negotiated"),
                           InstanceMethod<&NativeFileServer::statistics>("statistics"),
                           InstanceMethod<&NativeFileServer::notice_ms>("noticeMs"),
                           InstanceMethod<&NativeFileServer::graft>("graft"),
                           InstanceMethod<&NativeFileServer::graft_programs>("graftPrograms"),
                           InstanceMethod<&NativeFileServer::grafts_within>("graftsWithin"),
                           InstanceMethod<&NativeFileServer::graft_at>("graftAt"),
                           InstanceMethod<&NativeFileServer::shown>("shown"),
                           InstanceMethod<&NativeFileServer::revoke>("revoke"),
                           InstanceMethod<&NativeFileServer::latencies>("latencies"),
                           InstanceMethod<&NativeFileServer::usage>("usage"),
                           InstanceMethod<&NativeFileServer::hold_writes>("holdWrites"),
                           InstanceMethod<&NativeFileServer::let_write>("letWrite"),
                           InstanceMethod<&NativeFileServer::stop>("stop"),
                       });
  }

  // (options: NativeMountOptions, onEnded: (reason: string) => void, virtualFiles:
  // NativeVirtualFiles | undefined). `start` mounts; before, nothing else may be called.
  explicit NativeFileServer(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NativeFileServer>(info) {
    const auto options = info[0].As<Napi::Object>();
    SessionOptions session_options;
    session_options.backing = text(options, "backing");
    if (options.Get("mountPoint").IsString())
      session_options.mount_point = text(options, "mountPoint");
    session_options.exclusive = boolean(options, "exclusive");
    session_options.allow_other = boolean(options, "allowOther");
    session_options.list_reserved = boolean(options, "listReserved");
    session_options.shared_backing = boolean(options, "sharedBacking");
    session_options.passthrough = boolean(options, "passthrough");
    session_options.hide_devices = boolean(options, "hideDevices");
    if (options.Get("ids").IsObject())
      session_options.ids = ids_of(info.Env(), options.Get("ids").As<Napi::Object>());
    if (options.Get("threads").IsNumber())
      session_options.threads = options.Get("threads").As<Napi::Number>().Uint32Value();
    // Keeps the process alive while the mount is.
    ended_ = Napi::ThreadSafeFunction::New(info.Env(), info[1].As<Napi::Function>(),
                                           "insitu-file-server-ended", 1, 1);
    virtual_mount_ = virtual_mount_of(info[2]);
    options_ = std::move(session_options);
  }

  // () => Promise<void>: mounted. Off the event loop, since a backing that hangs may hang here as well.
  Napi::Value start(const Napi::CallbackInfo& info) {
    const AsyncPool::Lane lane = lane_of(options_.backing);
    return run_async(
        info.Env(), lane,
        [options = options_, virtual_mount = virtual_mount_, ended = ended_]() mutable {
          try {
            const auto session = std::make_shared<Session>(
                std::move(options), virtual_mount ? &virtual_mount->files : nullptr,
                [ended](std::string reason) {
                  ended.NonBlockingCall(
                      new std::string(std::move(reason)),
                      [](Napi::Env env, Napi::Function callback, std::string* text) {
                        const std::unique_ptr<std::string> owned(text);
                        callback.Call({Napi::String::New(env, *owned)});
                      });
                });
            if (virtual_mount) virtual_mount->attach(session);
            session->start();
            return session;
          } catch (const std::system_error& failure) {
            if (virtual_mount) virtual_mount->stopped();
            ended.Release();
            throw Failure(failure.code().value(), failure.what());
          }
        },
        [this, self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(Value()))](
            Napi::Env env, const std::shared_ptr<Session>& session) -> Napi::Value {
          session_ = session;
          return env.Undefined();
        });
  }

  // Ends what was not stopped.
  ~NativeFileServer() override {
    if (!session_) return;
    if (virtual_mount_) virtual_mount_->closing();
    session_->stop();
    if (virtual_mount_) virtual_mount_->stopped();
  }

 private:
  Napi::Value negotiated(const Napi::CallbackInfo& info) {
    const auto& protocol = session_->negotiated();
    auto out = Napi::Object::New(info.Env());
    out.Set("minor", protocol.minor);
    out.Set("flags", Napi::BigInt::New(info.Env(), protocol.flags));
    out.Set("passthrough", protocol.passthrough);
    out.Set("passthroughReason", protocol.passthrough_reason);
    out.Set("maxWriteBytes", protocol.max_write_bytes);
    out.Set("threads", session_->threads());
    if (session_->detached_root() >= 0) {
      out.Set("detachedRoot", session_->detached_root());
      out.Set("device", session_->device_number());
    }
    return out;
  }

  Napi::Value statistics(const Napi::CallbackInfo& info) {
    auto operations = Napi::Object::New(info.Env());
    for (uint32_t code = 0; code < kOpcodeCount; ++code)
      if (const Opcode* opcode = find_opcode(code))
        operations.Set(opcode->name, static_cast<double>(session_->served(code)));
    auto out = Napi::Object::New(info.Env());
    out.Set("operations", operations);
    out.Set("waiting", static_cast<double>(session_->waiting().size()));
    out.Set("nodes", static_cast<double>(session_->inodes().size()));
    out.Set("backingIds", static_cast<double>(session_->passthrough().ids()));
    out.Set("openHandles", static_cast<double>(session_->files().size() +
                                               session_->directories().size()));
    out.Set("grafts", graft_statistics(info.Env(), *session_));
    return out;
  }

  Napi::Value notice_ms(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(session_->notifier().stuck_for().count()));
  }

  Napi::Value graft(const Napi::CallbackInfo& info) { return graft_binding(info, session_); }
  Napi::Value graft_programs(const Napi::CallbackInfo& info) {
    return graft_programs_binding(info, session_);
  }
  Napi::Value grafts_within(const Napi::CallbackInfo& info) {
    return grafts_within_binding(info, session_);
  }
  Napi::Value shown(const Napi::CallbackInfo& info) { return shown_binding(info, session_); }
  Napi::Value usage(const Napi::CallbackInfo& info) { return usage_binding(info, session_); }
  Napi::Value graft_at(const Napi::CallbackInfo& info) {
    return graft_at_binding(info, session_);
  }
  Napi::Value revoke(const Napi::CallbackInfo& info) { return revoke_binding(info, session_); }
  Napi::Value latencies(const Napi::CallbackInfo& info) { return latencies_binding(info, session_); }
  Napi::Value hold_writes(const Napi::CallbackInfo& info) {
    return hold_writes_binding(info, session_);
  }
  Napi::Value let_write(const Napi::CallbackInfo& info) { return let_write_binding(info, session_); }

  // () => Promise<void>: detached, and no thread left.
  Napi::Value stop(const Napi::CallbackInfo& info) {
    // A lane of its own: what hangs in a backing may be just why it is unmounted.
    const AsyncPool::Lane lane = lane_of(session_.get()) + 1;
    const auto promise = run_async(
        info.Env(), lane,
        // The virtual side outlives the session, which calls it.
        [virtual_mount = virtual_mount_, session = session_] {
          if (virtual_mount) virtual_mount->closing();
          session->stop();
          if (virtual_mount) virtual_mount->stopped();
          return true;
        },
        [](Napi::Env env, bool) -> Napi::Value { return env.Undefined(); });
    if (!released_) ended_.Release();
    released_ = true;
    return promise;
  }

  std::shared_ptr<VirtualMount> virtual_mount_;
  SessionOptions options_;
  std::shared_ptr<Session> session_;
  Napi::ThreadSafeFunction ended_;
  bool released_ = false;
};

// (mountPoint: string) => errno, 0 when it is detached.
Napi::Value unmount_detached_binding(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  return Napi::Number::New(info.Env(), unmount_detached(path));
}

// (mountPoint: string, deviceMinor: number) => descriptor, or -errno.
Napi::Value clone_mounted_binding(const Napi::CallbackInfo& info) {
  const uint32_t minor = info[1].As<Napi::Number>().Uint32Value();
  UniqueFd clone =
      clone_mounted(info[0].As<Napi::String>().Utf8Value(), "0:" + std::to_string(minor));
  return Napi::Number::New(info.Env(), clone ? clone.release() : -errno);
}

// (clone: descriptor, place: string) => errno, 0 when it stands there.
Napi::Value attach_clone_binding(const Napi::CallbackInfo& info) {
  const int clone = info[0].As<Napi::Number>().Int32Value();
  const int error = attach_clone(clone, info[1].As<Napi::String>().Utf8Value());
  return Napi::Number::New(info.Env(), error);
}

}  // namespace

void register_file_server(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeFileServer", NativeFileServer::define(env));
  exports.Set("unmountDetached", Napi::Function::New(env, unmount_detached_binding));
  exports.Set("cloneMounted", Napi::Function::New(env, clone_mounted_binding));
  exports.Set("attachClone", Napi::Function::New(env, attach_clone_binding));
}

}  // namespace insitu
