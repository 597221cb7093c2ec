#include <napi.h>

#include "broker/peer_cred.h"
#include "containers/binding.h"
#include "file-server/binding.h"
#include "file-server/virtual_binding.h"
#include "file-server/volume_binding.h"
#include "sandbox/binding.h"
#include "service/notify.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  insitu::register_file_server(env, exports);
  insitu::register_virtual_files(env, exports);
  insitu::register_volume(env, exports);
  insitu::register_sandbox(env, exports);
  insitu::register_broker(env, exports);
  insitu::register_containers(env, exports);
  insitu::register_service(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)
