#include <cstdlib>
#include <vector>

#include "worker/guest.h"

namespace insitu::guest {
namespace {

using v8::Isolate;
using v8::Local;
using v8::Value;

class Refusals : public v8::ValueSerializer::Delegate {
 public:
  explicit Refusals(Isolate* isolate) : isolate_(isolate) {}
  void ThrowDataCloneError(Local<v8::String> message) override {
    isolate_->ThrowException(v8::Exception::Error(message));
  }

 private:
  Isolate* isolate_;
};

// cloneValue(value, arrayBuffers): a structured clone; the array buffers are moved, not copied.
void CloneValue(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Local<v8::Context> context = isolate->GetCurrentContext();
  if (args.Length() != 2 || !args[1]->IsArray()) {
    return Throw(isolate, "cloneValue: wrong arguments");
  }
  std::vector<Local<v8::ArrayBuffer>> moved;
  auto list = args[1].As<v8::Array>();
  for (uint32_t i = 0; i < list->Length(); i++) {
    Local<Value> item;
    if (!list->Get(context, i).ToLocal(&item)) return;
    if (!item->IsArrayBuffer()) return Throw(isolate, "cloneValue: not an ArrayBuffer");
    auto buffer = item.As<v8::ArrayBuffer>();
    if (!buffer->IsDetachable() || buffer->WasDetached()) {
      return Throw(isolate, "cloneValue: the ArrayBuffer cannot be moved");
    }
    moved.push_back(buffer);
  }

  Refusals refusals(isolate);
  v8::ValueSerializer writer(isolate, &refusals);
  writer.WriteHeader();
  for (uint32_t i = 0; i < moved.size(); i++) writer.TransferArrayBuffer(i, moved[i]);
  bool written = false;
  if (!writer.WriteValue(context, args[0]).To(&written) || !written) return;
  auto [data, size] = writer.Release();

  v8::ValueDeserializer reader(isolate, data, size);
  bool header = false;
  for (uint32_t i = 0; i < moved.size(); i++) {
    auto store = moved[i]->GetBackingStore();
    if (moved[i]->Detach(Local<Value>()).IsNothing()) {
      std::free(data);
      return;
    }
    reader.TransferArrayBuffer(i, v8::ArrayBuffer::New(isolate, std::move(store)));
  }
  Local<Value> result;
  if (reader.ReadHeader(context).To(&header) && header &&
      reader.ReadValue(context).ToLocal(&result)) {
    args.GetReturnValue().Set(result);
  }
  std::free(data);
}

}  // namespace

void InstallClone(Isolate*, Local<v8::Context> context, Local<v8::Object> target) {
  Define(context, target, "cloneValue", CloneValue);
}

}  // namespace insitu::guest
