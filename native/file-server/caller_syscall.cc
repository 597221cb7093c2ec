#include "caller_syscall.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "../common/unique_fd.h"
#include "credentials.h"

namespace insitu {
namespace {

// A thread that was just put to sleep may still count as running for a moment.
constexpr int kLooks = 20;
constexpr timespec kBetweenLooks{0, 100'000};

struct Syscall {
  long number = -1;
  uint64_t arguments[6]{};
};

bool read_syscall(uint32_t tid, Syscall& out) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/syscall", tid);
  for (int look = 0; look < kLooks; ++look) {
    const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
    if (!file) return false;
    char text[256];
    const ssize_t size = ::read(file.get(), text, sizeof text - 1);
    if (size <= 0) return false;
    text[size] = '\0';
    auto& a = out.arguments;
    // "running" has no number.
    if (std::sscanf(text, "%ld 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64, &out.number,
                    &a[0], &a[1], &a[2], &a[3]) == 5)
      return true;
    ::nanosleep(&kBetweenLooks, nullptr);
  }
  return false;
}

// No path at all, or one without a character: then the descriptor itself is meant.
bool is_empty_path(uint32_t tid, uint64_t address) {
  if (address == 0) return true;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/mem", tid);
  const UniqueFd memory(::open(path, O_RDONLY | O_CLOEXEC));
  char first = 'x';
  return memory && ::pread(memory.get(), &first, 1, static_cast<off_t>(address)) == 1 &&
         first == '\0';
}

}  // namespace

bool asks_by_descriptor(uint32_t tid) {
  Syscall call;
  if (tid == 0 || !read_syscall(tid, call)) return false;
  switch (call.number) {
    case SYS_fstat:
    case SYS_fgetxattr:
    case SYS_flistxattr:
      return true;
    case SYS_newfstatat:
      return (call.arguments[3] & AT_EMPTY_PATH) != 0 && is_empty_path(tid, call.arguments[1]);
    case SYS_statx:
      return (call.arguments[2] & AT_EMPTY_PATH) != 0 && is_empty_path(tid, call.arguments[1]);
    default:
      return false;
  }
}

bool can_see_callers() {
  return has_capability(CAP_SYS_PTRACE) && ::access("/proc/self/syscall", R_OK) == 0;
}

}  // namespace insitu
