#pragma once

#include <cstdint>
#include <string>

#include "common/unique_fd.h"

namespace insitu {

// openat2(2) that stays beneath `directory`, on its mount, off magic links. 0 or errno.
int open_beneath(int directory, const std::string& path, uint64_t flags, uint64_t extra_resolve,
                 UniqueFd& out);

}  // namespace insitu
