#pragma once

#include <napi.h>

namespace insitu {

// peerCredentials(fd): who connected this Unix socket, as the kernel recorded it at connect(2).
Napi::Value peer_credentials(const Napi::CallbackInfo& info);

// peerUid(fd): no more than the user, in one call.
Napi::Value peer_uid(const Napi::CallbackInfo& info);

void register_broker(Napi::Env env, Napi::Object exports);

}  // namespace insitu
