#include <napi.h>

#include "sandbox/worker_socket.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  insitu::register_worker_socket(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)
