#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tree_overlap.h"

namespace insitu {

// Which trees lie where, so that one more is compared with its neighbours only, however many there
// are. Not safe for threads by itself.
class ExtentIndex {
 public:
  void insert(uint32_t tree, const std::vector<Extent>& extents);
  void erase(uint32_t tree);
  // A tree that has any directory in common with these.
  std::optional<uint32_t> overlapping(const std::vector<Extent>& extents) const;

 private:
  // The path with a slash at its end, so that whatever is below follows it in the order.
  using Place = std::pair<std::string, std::string>;

  std::multimap<Place, uint32_t> trees_;
  std::map<uint32_t, std::vector<Place>> places_;
};

}  // namespace insitu
