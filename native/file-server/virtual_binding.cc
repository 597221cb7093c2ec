// Marshals between JavaScript and the virtual files; what the values mean stands in
// src/file-server/types.ts.
#include "virtual_binding.h"

#include <algorithm>
#include <string>

#include "../common/async_pool.h"
#include "mount_writers.h"
#include "volume_binding.h"

namespace insitu {

void VirtualMount::attach(const std::shared_ptr<Session>& started) {
  session = started;
  upcalls.attach(*started);
  files.attach(started);
  const Tree& tree = started->inodes().root()->tree();
  volume->serve(std::make_shared<MountWriters>(started, tree));
}

void VirtualMount::stopped() {
  volume->serve(nullptr);
  files.clear();
  upcalls.finish();
}

namespace {

constexpr napi_type_tag kVirtualTag{0x51c0de7a9b3f4e21, 0xa4b5c6d7e8f90132};

std::string text(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::String>().Utf8Value();
}

uint32_t number(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Uint32Value();
}

uint64_t size_of(const Napi::Object& object, const char* name) {
  return static_cast<uint64_t>(std::max<int64_t>(object.Get(name).As<Napi::Number>().Int64Value(), 0));
}

int64_t time_of(const Napi::Object& object, const char* name) {
  bool lossless = false;
  return object.Get(name).As<Napi::BigInt>().Int64Value(&lossless);
}

// A `PublishedSet`, whose `inputs` the facade replaced by the native session, or undefined.
ResultSetPtr set_of(const Napi::Value& value) {
  if (!value.IsObject()) return nullptr;
  const auto object = value.As<Napi::Object>();
  auto set = std::make_shared<ResultSet>();
  set->version = size_of(object, "version");
  set->folder = text(object, "folder");
  set->mtime_ns = time_of(object, "mtimeNs");
  set->uid = number(object, "uid");
  set->gid = number(object, "gid");
  set->mode = number(object, "mode");
  const auto results = object.Get("results").As<Napi::Array>();
  for (uint32_t at = 0; at < results.Length(); ++at) {
    const auto result = results.Get(at).As<Napi::Object>();
    set->results.push_back({text(result, "name"), size_of(result, "sizeBytes"), text(result, "etag")});
  }
  std::ranges::sort(set->results, {}, &ResultSet::Result::name);
  const auto xattrs = object.Get("xattrs").As<Napi::Object>();
  const auto names = xattrs.GetPropertyNames();
  for (uint32_t at = 0; at < names.Length(); ++at) {
    const std::string name = names.Get(at).As<Napi::String>().Utf8Value();
    set->xattrs.emplace(name, text(xattrs, name.c_str()));
  }
  const Napi::Value inputs = object.Get("inputs");
  if (inputs.IsObject()) set->inputs = inputs_of(inputs);
  return set;
}

class NativeVirtualFiles : public Napi::ObjectWrap<NativeVirtualFiles> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeVirtualFiles",
                       {
                           InstanceMethod<&NativeVirtualFiles::set_program>("setProgram"),
                           InstanceMethod<&NativeVirtualFiles::publish>("publish"),
                           InstanceMethod<&NativeVirtualFiles::reply>("reply"),
                           InstanceMethod<&NativeVirtualFiles::wake>("wake"),
                           InstanceMethod<&NativeVirtualFiles::invalidate>("invalidate"),
                           InstanceMethod<&NativeVirtualFiles::statistics>("statistics"),
                       });
  }

  // (volume: NativeVolume, names: ReservedNames, dispatch: (id, request | undefined) => void)
  explicit NativeVirtualFiles(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NativeVirtualFiles>(info) {
    const auto names = info[1].As<Napi::Object>();
    mount_ = std::make_shared<VirtualMount>(
        info.Env(), volume_of(info[0]),
        ReservedNames{text(names, "compute"), text(names, "results"), text(names, "query")},
        info[2].As<Napi::Function>());
    info.This().As<Napi::Object>().TypeTag(&kVirtualTag);
  }
  const std::shared_ptr<VirtualMount>& mount() const { return mount_; }

 private:
  // (key, entry | undefined). A directory that is gone is ignored.
  Napi::Value set_program(const Napi::CallbackInfo& info) {
    const std::string key = info[0].As<Napi::String>().Utf8Value();
    if (!info[1].IsObject()) {
      mount_->files.remove_program(key);
      return info.Env().Undefined();
    }
    const auto entry = info[1].As<Napi::Object>();
    const auto principal = entry.Get("principal").As<Napi::Object>();
    Program program;
    program.key = key;
    program.size = size_of(entry, "sizeBytes");
    program.mtime_ns = time_of(entry, "mtimeNs");
    program.uid = number(principal, "uid");
    program.gid = number(principal, "gid");
    program.writing = entry.Get("writing").ToBoolean().Value();
    try {
      const VirtualFiles::Place place = mount_->files.place(key);
      program.tree = place.tree;
      program.dev = place.dev;
      program.ino = place.ino;
      mount_->files.set_program(std::move(program));
    } catch (const Failure&) {
      mount_->files.remove_program(key);
    }
    return info.Env().Undefined();
  }

  // (key, current | undefined, last | undefined)
  Napi::Value publish(const Napi::CallbackInfo& info) {
    mount_->files.publish(info[0].As<Napi::String>().Utf8Value(), set_of(info[1]), set_of(info[2]));
    return info.Env().Undefined();
  }

  // (id, errno, reply | undefined) => whether somebody still waited for it
  Napi::Value reply(const Napi::CallbackInfo& info) {
    UpcallReply reply;
    reply.error = info[1].As<Napi::Number>().Int32Value();
    if (info[2].IsObject()) {
      const auto object = info[2].As<Napi::Object>();
      const auto count = [&](const char* name) {
        return object.Get(name).IsNumber() ? size_of(object, name) : 0;
      };
      reply.handle = count("handle");
      reply.stream = object.Get("stream").ToBoolean().Value();
      reply.written = count("written");
      reply.readable = object.Get("readable").ToBoolean().Value();
      reply.writable = object.Get("writable").ToBoolean().Value();
      if (object.Get("data").IsTypedArray()) {
        const auto data = object.Get("data").As<Napi::Uint8Array>();
        reply.data = std::as_bytes(std::span{data.Data(), data.ByteLength()});
      }
      if (object.Get("attributes").IsObject()) {
        const auto attributes = object.Get("attributes").As<Napi::Object>();
        reply.size = size_of(attributes, "sizeBytes");
        reply.mtime_ns = time_of(attributes, "mtimeNs");
      }
    }
    const auto id = static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value());
    return Napi::Boolean::New(info.Env(), mount_->upcalls.reply(id, reply));
  }

  Napi::Value wake(const Napi::CallbackInfo& info) {
    mount_->files.wake(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
    return info.Env().Undefined();
  }

  // (path of the volume) => Promise<void>
  Napi::Value invalidate(const Napi::CallbackInfo& info) {
    return run_async(
        info.Env(), lane_of(mount_.get()),
        [mount = mount_, path = info[0].As<Napi::String>().Utf8Value()] {
          constexpr unsigned kWaitMs = 5'000;  // as long as the kernel may write a file's pages
          const Attributes attributes = mount->volume->attributes(path);
          const auto session = mount->session.lock();
          const InodePtr inode =
              session ? session->inodes().find(attributes.dev, attributes.ino) : nullptr;
          if (!inode) return true;
          session->notifier().invalidate_inode(inode->node());
          return session->notifier().drain(kWaitMs);
        },
        [](Napi::Env env, bool) -> Napi::Value { return env.Undefined(); });
  }

  Napi::Value statistics(const Napi::CallbackInfo& info) {
    auto out = Napi::Object::New(info.Env());
    out.Set("requests", static_cast<double>(mount_->upcalls.total()));
    out.Set("waiting", static_cast<double>(mount_->upcalls.waiting()));
    out.Set("nodes", static_cast<double>(mount_->files.nodes()));
    out.Set("openHandles", static_cast<double>(mount_->files.handles()));
    return out;
  }

  std::shared_ptr<VirtualMount> mount_;
};

}  // namespace

void register_virtual_files(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeVirtualFiles", NativeVirtualFiles::define(env));
}

std::shared_ptr<VirtualMount> virtual_mount_of(const Napi::Value& value) {
  if (value.IsUndefined()) return nullptr;
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kVirtualTag))
    throw Napi::TypeError::New(value.Env(), "not virtual files");
  return NativeVirtualFiles::Unwrap(value.As<Napi::Object>())->mount();
}

}  // namespace insitu
