#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace insitu {

class InputSession;

// One finished set of results, as TypeScript published it; never changes. The files themselves are
// in `folder` of the results store, under their names.
struct ResultSet {
  struct Result {
    std::string name;
    uint64_t size = 0;
    std::string etag;
  };

  uint64_t version = 0;
  std::string folder;
  std::vector<Result> results;  // sorted by name
  int64_t mtime_ns = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;  // permission bits
  std::map<std::string, std::string, std::less<>> xattrs;
  std::shared_ptr<InputSession> inputs;
  // Its files are gone although nothing replaced it: somebody cleared the results store.
  mutable std::atomic<bool> lost = false;

  // Null when there is no such result.
  const Result* find(std::string_view name) const;
  // Whether everything it was computed from is still the same. Asked from the kernel's requests, so
  // sets with more inputs than a look may cost there never hold here; they are resolved instead.
  bool holds() const;
};

using ResultSetPtr = std::shared_ptr<const ResultSet>;

}  // namespace insitu
