#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace insitu {

// Who has a file open for writing through the mount. All zero for a file that nobody opened there.
struct Writers {
  uint32_t read_write_now = 0;   // O_RDWR descriptions: their pages may be mapped and change silently
  uint64_t overwriters_ever = 0; // opens that may write anywhere but at the end, and truncations
  uint64_t appenders_ever = 0;
  bool ever_read_write = false;
};

// What a look at inputs asks the mount about their own tree. Called from any thread.
class WriterRegistry {
 public:
  virtual ~WriterRegistry() = default;
  virtual Writers writers(uint64_t dev, uint64_t ino) = 0;
  // Writes back what the kernel caches for the mount's node of this file, and waits for it.
  virtual void write_back(uint64_t dev, uint64_t ino) = 0;
  // Whether a graft stands there: what is in the directory is another tree's.
  virtual bool is_covered(uint64_t dev, uint64_t ino) = 0;
  // Names in this directory at which grafts stand, in order.
  virtual std::vector<std::string> points_in(uint64_t dev, uint64_t ino) = 0;
  // No other process than through this mount changes the tree.
  virtual bool exclusive() const = 0;
};

}  // namespace insitu
