#pragma once

#include <napi.h>

#include <memory>

#include "file-server/inputs.h"
#include "file-server/volume.h"

namespace insitu {

// Adds `openVolume`, `NativeVolume` and `NativeInputs` to the addon's exports.
void register_volume(Napi::Env env, Napi::Object exports);

// A NativeVolume of it.
Napi::Value volume_value(const std::shared_ptr<Volume>& volume);
// What a NativeVolume or NativeInputs holds; throws Napi::TypeError for anything else.
std::shared_ptr<Volume> volume_of(const Napi::Value& value);
std::shared_ptr<InputSession> inputs_of(const Napi::Value& value);

}  // namespace insitu
