#include "worker/guest.h"

// What isolated-vm looks for in a native module; called once for each isolate.
extern "C" __attribute__((visibility("default"))) void InitForContext(
    v8::Isolate* isolate, v8::Local<v8::Context> context, v8::Local<v8::Object> target) {
  insitu::guest::InstallText(isolate, context, target);
  insitu::guest::InstallProgram(isolate, context, target);
  insitu::guest::InstallClone(isolate, context, target);
}
