#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/unique_fd.h"
#include "file-server/identity.h"

namespace insitu {

// A directory of one volume by identity. In text: `h:TYPE:HEX`, a file handle as name_to_handle_at(2)
// gives it, or `i:DEV:INO:BIRTH` where the backing or our rights allow no handles.
struct DirectoryKey {
  struct Handle {
    int type = 0;
    std::vector<std::byte> bytes;
  };
  struct Numbers {
    uint64_t dev = 0;
    uint64_t ino = 0;
    int64_t birth_ns = 0;
  };
  std::optional<Handle> handle;
  Numbers numbers;  // only when there is no handle

  std::string text() const;
  static std::optional<DirectoryKey> parse(std::string_view text);
};

// 0, or EOPNOTSUPP and the like where `fd`'s file system has no handles.
int read_handle(int fd, DirectoryKey::Handle& out);

// O_PATH | O_DIRECTORY description of what `handle` names in the file system of `mount_fd`, seen
// through that mount; ESTALE when it is gone, EPERM without CAP_DAC_READ_SEARCH.
int open_handle(int mount_fd, const DirectoryKey::Handle& handle, UniqueFd& out);

}  // namespace insitu
