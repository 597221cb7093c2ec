// For who connects faster than one connection a turn of the event loop is looked at.
#pragma once

#include <napi.h>

namespace insitu {

// turnAway(listening, uids, most): accepts from a Unix socket and closes what these users connected, until
// another's comes, whose descriptor is `next` (else -1), or `most` were closed.
Napi::Value turn_away(const Napi::CallbackInfo& info);

}  // namespace insitu
