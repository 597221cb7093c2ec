#pragma once

#include <cstdint>
#include <string>

namespace insitu {

// What INIT settled for the life of the connection.
struct NegotiatedProtocol {
  uint32_t minor = 0;
  uint64_t flags = 0;
  uint32_t max_write_bytes = 0;
  bool passthrough = false;
  std::string passthrough_reason;
};

}  // namespace insitu
