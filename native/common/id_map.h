// Ids of a volume, and the host's ids that stand for them in a user namespace.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace insitu {

struct IdRange {
  uint32_t volume, host, count;
};

// Neither side overlaps, as in uid_map of user_namespaces(7).
class IdMap {
 public:
  // "VOLUME:HOST:COUNT,…", as the kernel bounds it: 340 ranges. Nothing when it is none.
  static std::optional<IdMap> parse(const std::string& text) {
    IdMap map;
    const char* at = text.c_str();
    do {
      uint32_t numbers[3];
      for (int i = 0; i < 3; ++i) {
        char* rest = nullptr;
        const unsigned long value = std::strtoul(at, &rest, 10);
        if (rest == at || *at < '0' || *at > '9' || value >= UINT32_MAX) return std::nullopt;
        numbers[i] = static_cast<uint32_t>(value);
        at = rest;
        if (i < 2 && *at++ != ':') return std::nullopt;
      }
      map.ranges_.push_back({numbers[0], numbers[1], numbers[2]});
    } while (*at++ == ',' && map.ranges_.size() < 340);
    if (at[-1] != '\0') return std::nullopt;
    return map;
  }

  // Nothing: it stands for none.
  std::optional<uint32_t> to_volume(uint32_t host) const {
    for (const IdRange& range : ranges_)
      if (host >= range.host && host - range.host < range.count)
        return range.volume + (host - range.host);
    return std::nullopt;
  }

  // As uid_map of a user namespace that an idmapped mount is given.
  std::string lines() const {
    std::string text;
    for (const auto& [volume, host, count] : ranges_)
      text += std::to_string(volume) + " " + std::to_string(host) + " " + std::to_string(count) + "\n";
    return text;
  }

 private:
  std::vector<IdRange> ranges_;
};

}  // namespace insitu
