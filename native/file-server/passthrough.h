#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace insitu {

class Inode;

// How the kernel does the I/O of one open file.
enum class IoMode : uint8_t {
  cached,       // through the page cache of this mount, filled and written by our threads
  passthrough,  // on the backing file itself, without us
  // Through our threads, nothing cached, beside passthrough opens of the same inode. Mappings are the
  // backing file's, as theirs.
  direct,
};

// What is open of one inode, since the kernel refuses cached opens beside passthrough ones.
struct IoState {
  std::mutex mutex;
  uint32_t cached = 0;
  uint32_t passthrough = 0;  // and direct, which the kernel counts as such
  int32_t backing_id = 0;
};

// Hands backing files to the kernel. One backing id stands for an inode as long as any passthrough
// open of it lives: the kernel takes no second one.
class Passthrough {
 public:
  // Off until a device is given.
  void enable(int device) { device_ = device; }
  // The connection is going: ids vanish with it.
  void disable() { device_ = -1; }
  bool enabled() const { return device_ >= 0; }

  // Chooses for one more open, so that no open is ever refused by the kernel. `path` is O_PATH;
  // `wanted` false is for an open whose I/O must come by us. Sets `backing_id` for passthrough and
  // direct.
  IoMode choose(IoState& state, int path, bool wanted, int32_t& backing_id);
  void released(IoState& state, IoMode mode);
  // Backing files that the kernel holds for us.
  size_t ids() const { return ids_; }

 private:
  std::atomic<int> device_ = -1;
  std::atomic<size_t> ids_ = 0;
};

}  // namespace insitu
