#pragma once

#include <cstdint>
#include <vector>

namespace insitu {

// The supplementary groups of a thread, from /proc; none for a thread that we cannot see.
std::vector<uint32_t> caller_groups(uint32_t tid);

}  // namespace insitu
