#pragma once

#include <napi.h>

namespace insitu {

// exports.sandbox: what src/addon/sandbox.ts describes.
void register_sandbox(Napi::Env env, Napi::Object exports);

}  // namespace insitu
