#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace insitu {

struct FilesystemIds {
  uint32_t uid, gid;
};

// Of a thread, from /proc, as ids of the host; nothing, or none, of a thread that we cannot see.
std::optional<FilesystemIds> filesystem_ids(uint32_t tid);
std::vector<uint32_t> supplementary_groups(uint32_t tid);

}  // namespace insitu
