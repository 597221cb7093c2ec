#pragma once

#include <napi.h>

namespace insitu {

void register_containers(Napi::Env env, Napi::Object exports);

}  // namespace insitu
