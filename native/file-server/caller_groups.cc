#include "caller_groups.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "../common/unique_fd.h"

namespace insitu {

std::vector<uint32_t> caller_groups(uint32_t tid) {
  std::vector<uint32_t> groups;
  if (tid == 0) return groups;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/status", tid);
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return groups;
  // A process may be in 65,536 groups, so the text has no small bound.
  std::string text;
  char chunk[4096];
  for (ssize_t size; (size = ::read(file.get(), chunk, sizeof chunk)) > 0;)
    text.append(chunk, static_cast<size_t>(size));
  constexpr std::string_view kField = "\nGroups:\t";
  const size_t at = text.find(kField);
  if (at == std::string::npos) return groups;
  const char* end = text.data() + std::min(text.find('\n', at + 1), text.size());
  for (const char* start = text.data() + at + kField.size(); start < end;) {
    uint32_t group = 0;
    const auto [next, error] = std::from_chars(start, end, group);
    if (error != std::errc{}) break;
    groups.push_back(group);
    start = next;
    while (start < end && *start == ' ') ++start;
  }
  return groups;
}

}  // namespace insitu
