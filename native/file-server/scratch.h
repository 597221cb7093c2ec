#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace insitu {

// The largest payload of one READ or WRITE. More would pin more memory in each thread for nothing:
// at this size the data itself costs far more than the round trip.
inline constexpr size_t kMaxTransferBytes = 1 << 20;

// `size` bytes of this thread's own reply buffer, good until the next call on the same thread.
inline std::span<std::byte> scratch(size_t size) {
  thread_local std::vector<std::byte> buffer;
  if (buffer.size() < size) buffer.resize(size);
  return {buffer.data(), size};
}

}  // namespace insitu
