#include "file-server/open_beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace insitu {
namespace {

// A lookup beneath that raced with renames is tried again.
constexpr int kMaxRaces = 16;

}  // namespace

int open_beneath(int directory, const std::string& path, uint64_t flags, uint64_t extra_resolve,
                 UniqueFd& out) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | extra_resolve;
  const char* name = path.empty() ? "." : path.c_str();
  for (int race = 0;; ++race) {
    const long fd = syscall(SYS_openat2, directory, name, &how, sizeof how);
    if (fd >= 0) {
      out.reset(static_cast<int>(fd));
      return 0;
    }
    if (errno != EINTR && (errno != EAGAIN || race >= kMaxRaces)) return errno;
  }
}

}  // namespace insitu
