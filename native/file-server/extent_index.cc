#include "extent_index.h"

namespace insitu {

namespace {

std::string closed(const std::string& path) { return path.ends_with('/') ? path : path + "/"; }

}  // namespace

void ExtentIndex::insert(uint32_t tree, const std::vector<Extent>& extents) {
  erase(tree);
  std::vector<Place>& places = places_[tree];
  for (const Extent& extent : extents) {
    places.emplace_back(extent.device, closed(extent.path));
    trees_.emplace(places.back(), tree);
  }
}

void ExtentIndex::erase(uint32_t tree) {
  const auto found = places_.find(tree);
  if (found == places_.end()) return;
  for (const Place& place : found->second) {
    auto [one, end] = trees_.equal_range(place);
    while (one != end) one = one->second == tree ? trees_.erase(one) : std::next(one);
  }
  places_.erase(found);
}

std::optional<uint32_t> ExtentIndex::overlapping(const std::vector<Extent>& extents) const {
  for (const Extent& extent : extents) {
    const std::string path = closed(extent.path);
    // Itself, and the first of what is below it.
    const auto below = trees_.lower_bound({extent.device, path});
    if (below != trees_.end() && below->first.first == extent.device &&
        below->first.second.starts_with(path))
      return below->second;
    for (size_t end = path.find('/'); end + 1 < path.size(); end = path.find('/', end + 1)) {
      const auto above = trees_.find({extent.device, path.substr(0, end + 1)});
      if (above != trees_.end()) return above->second;
    }
  }
  return std::nullopt;
}

}  // namespace insitu
