// What the guest's runtime needs of V8 and of the kernel, and JavaScript cannot give it: functions
// that isolated-vm installs into the guest's own context. Every value they take and return lives in
// that context, so nothing here crosses the border between isolates.
//
// The runtime keeps these functions to itself; they still check their arguments, since a guest may
// have confused the runtime, and a wrong argument must throw rather than read stray memory.
#pragma once

#include <v8.h>

#include <string_view>

namespace insitu::guest {

using Arguments = v8::FunctionCallbackInfo<v8::Value>;

void InstallText(v8::Isolate*, v8::Local<v8::Context>, v8::Local<v8::Object> target);
void InstallProgram(v8::Isolate*, v8::Local<v8::Context>, v8::Local<v8::Object> target);
void InstallClone(v8::Isolate*, v8::Local<v8::Context>, v8::Local<v8::Object> target);

inline v8::Local<v8::String> Text(v8::Isolate* isolate, std::string_view text) {
  return v8::String::NewFromUtf8(isolate, text.data(), v8::NewStringType::kNormal,
                                 static_cast<int>(text.size()))
      .ToLocalChecked();
}

inline void Throw(v8::Isolate* isolate, std::string_view message) {
  isolate->ThrowException(v8::Exception::TypeError(Text(isolate, message)));
}

inline void Define(v8::Local<v8::Context> context, v8::Local<v8::Object> target, const char* name,
                   v8::FunctionCallback callback) {
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  auto function = v8::Function::New(context, callback, {}, 0, v8::ConstructorBehavior::kThrow);
  target->Set(context, Text(isolate, name), function.ToLocalChecked()).Check();
}

// The bytes of a Uint8Array, for as long as no JavaScript runs.
struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;

  static bool From(v8::Local<v8::Value> value, Bytes& out) {
    if (!value->IsUint8Array()) return false;
    auto view = value.As<v8::Uint8Array>();
    out.size = view->ByteLength();
    out.data = static_cast<uint8_t*>(view->Buffer()->Data()) + view->ByteOffset();
    return true;
  }
};

}  // namespace insitu::guest
