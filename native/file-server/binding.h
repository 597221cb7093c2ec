#pragma once

#include <napi.h>

namespace insitu {

// Adds `NativeFileServer` and what is done with mounts to the addon's exports.
void register_file_server(Napi::Env env, Napi::Object exports);

}  // namespace insitu
