// Marshals between JavaScript and Volume / InputSession; what the values mean stands in
// src/file-server/types.ts.
#include "file-server/volume_binding.h"

#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "common/async_pool.h"

namespace insitu {
namespace {

constexpr napi_type_tag kVolumeTag{0x6b1f0c8a4d5e4f7b, 0x9a1b3c5d7e9f1021};
constexpr napi_type_tag kInputsTag{0x2c7d9e1f3a5b4c6d, 0x8e0f1a2b3c4d5e6f};

std::string text(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

Principal principal_of(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  Principal principal;
  principal.uid = object.Get("uid").As<Napi::Number>().Uint32Value();
  principal.gid = object.Get("gid").As<Napi::Number>().Uint32Value();
  const auto groups = object.Get("groups").As<Napi::Array>();
  for (uint32_t at = 0; at < groups.Length(); ++at)
    principal.groups.push_back(groups.Get(at).As<Napi::Number>().Uint32Value());
  return principal;
}

constexpr const char* kKindNames[] = {"file", "attributes", "directory", "missing"};
constexpr const char* kEntryNames[] = {"file", "directory", "symlink", "other"};

const char* entry_name(EntryKind kind) { return kEntryNames[static_cast<size_t>(kind)]; }

Napi::Value identity_value(Napi::Env env, const Identity& identity) {
  auto out = Napi::Object::New(env);
  out.Set("path", identity.path);
  out.Set("kind", kKindNames[static_cast<size_t>(identity.kind)]);
  out.Set("dev", Napi::BigInt::New(env, identity.dev));
  out.Set("ino", Napi::BigInt::New(env, identity.ino));
  out.Set("birthNs", Napi::BigInt::New(env, identity.birth_ns));
  out.Set("sizeBytes", Napi::BigInt::New(env, identity.size));
  out.Set("mtimeNs", Napi::BigInt::New(env, identity.mtime_ns));
  // What holds at no later look must not do so after a restart either: no file has this time.
  constexpr int64_t kNeverNs = -1;
  const bool lasting = !identity.uncertain && identity.points == 0;
  out.Set("ctimeNs", Napi::BigInt::New(env, lasting ? identity.ctime_ns : kNeverNs));
  return out;
}

Identity identity_of(const Napi::Object& object) {
  const auto number = [&](const char* name) {
    bool lossless = false;
    return object.Get(name).As<Napi::BigInt>().Int64Value(&lossless);
  };
  Identity identity;
  identity.path = text(object.Get("path"));
  const std::string kind = text(object.Get("kind"));
  // An unknown kind stays `missing`, which does not hold for what is there.
  for (size_t at = 0; at < std::size(kKindNames); ++at)
    if (kind == kKindNames[at]) identity.kind = static_cast<InputKind>(at);
  identity.dev = static_cast<uint64_t>(number("dev"));
  identity.ino = static_cast<uint64_t>(number("ino"));
  identity.birth_ns = number("birthNs");
  identity.size = static_cast<uint64_t>(number("sizeBytes"));
  identity.mtime_ns = number("mtimeNs");
  identity.ctime_ns = number("ctimeNs");
  return identity;
}

Napi::Object attributes_value(Napi::Env env, const Attributes& attributes) {
  auto out = Napi::Object::New(env);
  out.Set("uid", attributes.uid);
  out.Set("gid", attributes.gid);
  out.Set("mode", attributes.mode);
  out.Set("mtimeNs", Napi::BigInt::New(env, attributes.mtime_ns));
  return out;
}

class NativeInputs : public Napi::ObjectWrap<NativeInputs> {
 public:
  static inline Napi::FunctionReference constructor;

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeInputs",
                       {
                           InstanceMethod<&NativeInputs::open>("open"),
                           InstanceMethod<&NativeInputs::stat>("stat"),
                           InstanceMethod<&NativeInputs::list>("list"),
                           InstanceMethod<&NativeInputs::validate>("validate"),
                           InstanceMethod<&NativeInputs::conclude>("conclude"),
                           InstanceMethod<&NativeInputs::identities>("identities"),
                           InstanceMethod<&NativeInputs::readable_mode>("readableMode"),
                       });
  }

  static Napi::Value wrap(Napi::Env, std::shared_ptr<InputSession> session) {
    const Napi::Object object = constructor.New({});
    Unwrap(object)->session_ = std::move(session);
    return object;
  }

  explicit NativeInputs(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeInputs>(info) {
    info.This().As<Napi::Object>().TypeTag(&kInputsTag);
  }
  const std::shared_ptr<InputSession>& session() const { return session_; }

 private:
  Napi::Value open(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(session_->lane()),
        [session = session_, path = text(info[0])] { return session->open(path); },
        [](Napi::Env env, InputSession::Opened& opened) -> Napi::Value {
          auto out = Napi::Object::New(env);
          out.Set("fd", opened.fd.release());
          out.Set("sizeBytes", static_cast<double>(opened.attributes.size));
          out.Set("mtimeNs", Napi::BigInt::New(env, opened.attributes.mtime_ns));
          return out;
        });
  }

  Napi::Value stat(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(session_->lane()),
        [session = session_, path = text(info[0])] { return session->stat(path); },
        [](Napi::Env env, const Attributes& attributes) -> Napi::Value {
          auto out = Napi::Object::New(env);
          out.Set("kind", entry_name(entry_kind(attributes.mode)));
          out.Set("sizeBytes", static_cast<double>(attributes.size));
          out.Set("mtimeNs", Napi::BigInt::New(env, attributes.mtime_ns));
          return out;
        });
  }

  Napi::Value list(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(session_->lane()),
        [session = session_, path = text(info[0])] { return session->list(path); },
        [](Napi::Env env, const std::vector<InputSession::Entry>& entries) -> Napi::Value {
          auto out = Napi::Array::New(env, entries.size());
          for (size_t at = 0; at < entries.size(); ++at) {
            auto entry = Napi::Object::New(env);
            entry.Set("name", entries[at].name);
            entry.Set("kind", entry_name(entries[at].kind));
            out.Set(static_cast<uint32_t>(at), entry);
          }
          return out;
        });
  }

  Napi::Value validate(const Napi::CallbackInfo& info) {
    const Look look = text(info[0]) == "end" ? Look::End : Look::Look;
    const auto work = [session = session_, look] { return session->validate(look); };
    const auto convert = [](Napi::Env env, const Validation& validation) -> Napi::Value {
      auto out = Napi::Object::New(env);
      out.Set("holds", validation.holds);
      if (validation.holds) return out;
      out.Set("path", validation.path);
      out.Set("why", validation.why);
      return out;
    };
    // The look at the end may write pages back.
    const bool here = look == Look::Look && session_->is_quick();
    return here ? run_here(info.Env(), work, convert) : run_async(
        info.Env(), lane_of(session_->lane()), work, convert);
  }

  // One job for two answers: each way to a thread and back costs more than most looks.
  Napi::Value conclude(const Napi::CallbackInfo& info) {
    const uint32_t gid = info[0].As<Napi::Number>().Uint32Value();
    const auto work = [session = session_, gid] {
      const bool holds = session->validate(Look::Look).holds;
      return std::pair(holds, holds ? session->readable_mode(gid) : 0);
    };
    const auto convert = [](Napi::Env env, const std::pair<bool, uint32_t>& concluded) {
      auto out = Napi::Object::New(env);
      out.Set("holds", concluded.first);
      out.Set("readableMode", concluded.second);
      return Napi::Value(out);
    };
    return session_->is_quick() ? run_here(info.Env(), work, convert)
                                : run_async(
        info.Env(), lane_of(session_->lane()), work, convert);
  }

  Napi::Value identities(const Napi::CallbackInfo& info) {
    const std::vector<Identity> identities = session_->identities();
    auto out = Napi::Array::New(info.Env(), identities.size());
    for (size_t at = 0; at < identities.size(); ++at)
      out.Set(static_cast<uint32_t>(at), identity_value(info.Env(), identities[at]));
    return out;
  }

  Napi::Value readable_mode(const Napi::CallbackInfo& info) {
    const uint32_t gid = info[0].As<Napi::Number>().Uint32Value();
    return run_async(
        info.Env(), lane_of(session_->lane()), [session = session_, gid] { return session->readable_mode(gid); },
        [](Napi::Env env, uint32_t mode) -> Napi::Value { return Napi::Number::New(env, mode); });
  }

  std::shared_ptr<InputSession> session_;
};

class NativeVolume : public Napi::ObjectWrap<NativeVolume> {
 public:
  static inline Napi::FunctionReference constructor;

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeVolume",
                       {
                           InstanceMethod<&NativeVolume::key_of>("keyOf"),
                           InstanceMethod<&NativeVolume::path_of>("pathOf"),
                           InstanceMethod<&NativeVolume::stat>("stat"),
                           InstanceMethod<&NativeVolume::access>("access"),
                           InstanceMethod<&NativeVolume::survey>("survey"),
                           InstanceMethod<&NativeVolume::inputs>("inputs"),
                           InstanceMethod<&NativeVolume::close>("close"),
                       });
  }

  static Napi::Value wrap(const std::shared_ptr<Volume>& volume) {
    const Napi::Object object = constructor.New({});
    Unwrap(object)->volume_ = volume;
    return object;
  }

  // (backing: string, maxInputs: number) => Promise<NativeVolume>
  static Napi::Value open(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(text(info[0])),
        [backing = text(info[0]), bound = info[1].As<Napi::Number>().Int64Value()] {
          return std::make_shared<Volume>(backing, static_cast<size_t>(bound));
        },
        [](Napi::Env, const std::shared_ptr<Volume>& volume) -> Napi::Value {
          return wrap(volume);
        });
  }

  explicit NativeVolume(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeVolume>(info) {
    info.This().As<Napi::Object>().TypeTag(&kVolumeTag);
  }
  const std::shared_ptr<Volume>& volume() const { return volume_; }

 private:
  Napi::Value key_of(const Napi::CallbackInfo& info) {
    std::optional<Principal> principal;
    if (info[1].IsObject()) principal = principal_of(info[1]);
    return run_async(
        info.Env(), lane_of(volume_.get()),
        [volume = volume_, path = text(info[0]), principal = std::move(principal)] {
          return volume->key_of(path, principal ? &*principal : nullptr);
        },
        [](Napi::Env env, const std::string& key) -> Napi::Value {
          return Napi::String::New(env, key);
        });
  }

  Napi::Value path_of(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(volume_.get()), [volume = volume_, key = text(info[0])] { return volume->path_of(key); },
        [](Napi::Env env, const std::optional<std::string>& path) -> Napi::Value {
          if (!path) return env.Undefined();
          return Napi::String::New(env, *path);
        });
  }

  Napi::Value stat(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(volume_.get()), [volume = volume_, key = text(info[0])] { return volume->stat(key); },
        [](Napi::Env env, const Attributes& attributes) -> Napi::Value {
          return attributes_value(env, attributes);
        });
  }

  // (key, principal, mode: bits of access(2))
  Napi::Value access(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(volume_.get()),
        [volume = volume_, key = text(info[0]), principal = principal_of(info[1]),
         mode = info[2].As<Napi::Number>().Int32Value()] {
          return volume->access(key, principal, mode);
        },
        [](Napi::Env env, bool allowed) -> Napi::Value {
          return Napi::Boolean::New(env, allowed);
        });
  }

  Napi::Value survey(const Napi::CallbackInfo& info) {
    struct Survey {
      std::optional<std::string> path;
      Attributes attributes;
      bool may_change;
    };
    return run_async(
        info.Env(), lane_of(volume_.get()),
        [volume = volume_, key = text(info[0]), principal = principal_of(info[1])] {
          return Survey{volume->path_of(key), volume->stat(key),
                        volume->access(key, principal, W_OK | X_OK)};
        },
        [](Napi::Env env, const Survey& survey) -> Napi::Value {
          auto out = attributes_value(env, survey.attributes);
          if (survey.path) out.Set("path", *survey.path);
          out.Set("mayChange", survey.may_change);
          return out;
        });
  }

  // (key, principal, identities of an earlier session, or undefined)
  Napi::Value inputs(const Napi::CallbackInfo& info) {
    std::vector<Identity> restored;
    if (info[2].IsArray()) {
      const auto array = info[2].As<Napi::Array>();
      for (uint32_t at = 0; at < array.Length(); ++at)
        restored.push_back(identity_of(array.Get(at).As<Napi::Object>()));
    }
    return run_async(
        info.Env(), lane_of(volume_.get()),
        [volume = volume_, key = text(info[0]), principal = principal_of(info[1]),
         restored = std::move(restored)]() mutable {
          // ESTALE rather than a session of nothing; and the right is looked at again at each run.
          if (restored.empty() && !volume->access(key, principal, R_OK | X_OK))
            throw Failure(EACCES, "the principal may not read the directory");
          return std::make_shared<InputSession>(volume, std::move(key), std::move(principal),
                                                std::move(restored));
        },
        [](Napi::Env env, const std::shared_ptr<InputSession>& session) -> Napi::Value {
          return NativeInputs::wrap(env, session);
        });
  }

  // () => void. Nothing else may be asked of it afterwards; what is under way ends as it would.
  void close(const Napi::CallbackInfo&) { volume_.reset(); }

  std::shared_ptr<Volume> volume_;
};

bool is_tagged(const Napi::Value& value, const napi_type_tag& tag) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&tag);
}

}  // namespace

void register_volume(Napi::Env env, Napi::Object exports) {
  const auto inputs = NativeInputs::define(env), volume = NativeVolume::define(env);
  NativeInputs::constructor = Napi::Persistent(inputs);
  NativeInputs::constructor.SuppressDestruct();
  NativeVolume::constructor = Napi::Persistent(volume);
  NativeVolume::constructor.SuppressDestruct();
  exports.Set("openVolume", Napi::Function::New(env, NativeVolume::open));
}

Napi::Value volume_value(const std::shared_ptr<Volume>& volume) { return NativeVolume::wrap(volume); }

std::shared_ptr<Volume> volume_of(const Napi::Value& value) {
  if (!is_tagged(value, kVolumeTag)) throw Napi::TypeError::New(value.Env(), "not a volume");
  return NativeVolume::Unwrap(value.As<Napi::Object>())->volume();
}

std::shared_ptr<InputSession> inputs_of(const Napi::Value& value) {
  if (!is_tagged(value, kInputsTag)) throw Napi::TypeError::New(value.Env(), "not an input session");
  return NativeInputs::Unwrap(value.As<Napi::Object>())->session();
}

}  // namespace insitu
