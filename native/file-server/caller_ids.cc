#include "caller_ids.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "../common/unique_fd.h"

namespace insitu {
namespace {

// A process may be in 65,536 groups, so the text has no small bound. Empty: there is no such thread.
std::string status_of(uint32_t tid) {
  std::string text;
  if (tid == 0) return text;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/status", tid);
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return text;
  char chunk[4096];
  for (ssize_t size; (size = ::read(file.get(), chunk, sizeof chunk)) > 0;)
    text.append(chunk, static_cast<size_t>(size));
  return text;
}

// `field` as "\nGroups:".
std::vector<uint32_t> numbers_of(const std::string& status, std::string_view field) {
  std::vector<uint32_t> numbers;
  const size_t at = status.find(field);
  if (at == std::string::npos) return numbers;
  const char* end = status.data() + std::min(status.find('\n', at + 1), status.size());
  const char* start = status.data() + at + field.size();
  for (;;) {
    while (start < end && (*start == ' ' || *start == '\t')) ++start;
    uint32_t number = 0;
    const auto [next, error] = std::from_chars(start, end, number);
    if (error != std::errc{}) return numbers;
    numbers.push_back(number);
    start = next;
  }
}

}  // namespace

std::optional<FilesystemIds> filesystem_ids(uint32_t tid) {
  // Real, effective, saved, and of the file system.
  constexpr size_t kAll = 4;
  const std::string status = status_of(tid);
  const auto users = numbers_of(status, "\nUid:"), groups = numbers_of(status, "\nGid:");
  if (users.size() != kAll || groups.size() != kAll) return std::nullopt;
  return FilesystemIds{users.back(), groups.back()};
}

std::vector<uint32_t> supplementary_groups(uint32_t tid) {
  return numbers_of(status_of(tid), "\nGroups:");
}

}  // namespace insitu
