#pragma once

#include <napi.h>

namespace insitu {

// Adds `sendDatagram` to the addon's exports.
void register_service(Napi::Env env, Napi::Object exports);

}  // namespace insitu
