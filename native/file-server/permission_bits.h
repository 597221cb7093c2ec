#pragma once

#include <cstdint>

#include "file-server/identity.h"
#include "file-server/principal.h"

namespace insitu {

// What access(2) would say on a filesystem that can be written: mode bits and ACL of what `fd` (O_PATH
// will do) stands for, whose `attributes` they are. `wanted` is of R_OK, W_OK, X_OK.
bool is_permitted(int fd, const Attributes& attributes, const Principal& principal,
                  uint32_t wanted);

}  // namespace insitu
