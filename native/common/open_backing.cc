#include "common/open_backing.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string_view>
#include <vector>

namespace insitu {
namespace {

// MAXSYMLINKS of the kernel.
constexpr int kMaxLinks = 40;

UniqueFd failed(int error) {
  errno = error;
  return {};
}

// What is left to walk, the next part last.
void push_parts(std::vector<std::string>& left, std::string_view path) {
  for (size_t end = path.size();;) {
    const size_t slash = end == 0 ? std::string_view::npos : path.rfind('/', end - 1);
    const size_t start = slash == std::string_view::npos ? 0 : slash + 1;
    if (start < end) left.emplace_back(path.substr(start, end - start));
    if (start == 0) return;
    end = start - 1;
  }
}

UniqueFd start_of(std::string_view path) {
  return UniqueFd(::open(path.starts_with('/') ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

// Where a link that may be followed leads, as text; empty with errno.
std::string target_of(int link) {
  struct stat attributes;
  if (::fstat(link, &attributes) < 0) return {};
  const bool ours = attributes.st_uid == 0 || attributes.st_uid == ::geteuid();
  if (!S_ISLNK(attributes.st_mode) || !ours) {
    errno = S_ISLNK(attributes.st_mode) ? EPERM : ENOTDIR;
    return {};
  }
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlinkat(link, "", target.data(), target.size());
  if (size < 0) return {};
  return {target.data(), static_cast<size_t>(size)};
}

}  // namespace

UniqueFd open_backing(const std::string& path) {
  std::vector<std::string> left;
  push_parts(left, path);
  UniqueFd here = start_of(path);
  for (int links = 0; here && !left.empty();) {
    const std::string part = std::move(left.back());
    left.pop_back();
    // As a directory first, so that what is mounted on demand is.
    UniqueFd next(
        ::openat(here.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next && (errno == ENOTDIR || errno == ELOOP)) {
      const UniqueFd link(::openat(here.get(), part.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      const std::string target = link ? target_of(link.get()) : std::string();
      if (target.empty()) return failed(errno);
      if (++links > kMaxLinks) return failed(ELOOP);
      push_parts(left, target);
      if (!target.starts_with('/')) continue;
      next = start_of(target);
    }
    here = std::move(next);
  }
  return here;
}

}  // namespace insitu
