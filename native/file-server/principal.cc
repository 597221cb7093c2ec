#include "file-server/principal.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "common/failure.h"

namespace insitu {
namespace {

struct Capabilities {
  std::array<__user_cap_data_struct, 2> data{};
};

constexpr uint64_t bit(int capability) { return uint64_t{1} << capability; }

bool read_capabilities(Capabilities& out) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &header, out.data.data()) == 0;
}

// The effective set becomes `wanted` as far as it is permitted.
bool set_effective(const Capabilities& from, uint64_t wanted) {
  Capabilities next = from;
  next.data[0].effective = static_cast<uint32_t>(wanted) & from.data[0].permitted;
  next.data[1].effective = static_cast<uint32_t>(wanted >> 32) & from.data[1].permitted;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capset, &header, next.data.data()) == 0;
}

// What the process has at its start; threads that switch return to it.
struct Own {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  std::vector<gid_t> groups;
  Capabilities capabilities;
  uint64_t effective = 0;
  bool may_switch = false;

  Own() {
    const int count = getgroups(0, nullptr);
    if (count > 0) {
      groups.resize(static_cast<size_t>(count));
      groups.resize(static_cast<size_t>(std::max(getgroups(count, groups.data()), 0)));
    }
    if (!read_capabilities(capabilities)) return;
    effective = uint64_t{capabilities.data[0].effective} |
                (uint64_t{capabilities.data[1].effective} << 32);
    const uint64_t needed = bit(CAP_SETUID) | bit(CAP_SETGID);
    may_switch = uid == 0 && (effective & needed) == needed;
  }
};

const Own& own() {
  static const Own instance;
  return instance;
}

// The C library's setgroups would change every thread.
bool set_thread_groups(const std::vector<gid_t>& groups) {
  return syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
}

bool set_thread_ids(uid_t uid, gid_t gid) {
  setfsgid(gid);
  setfsuid(uid);
  // They return the previous value, also when refused: asking with an invalid id tells.
  return static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1))) == gid &&
         static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1))) == uid;
}

void restore() {
  const Own& self = own();
  // The capabilities first: the ids need them.
  const bool restored = set_effective(self.capabilities, self.effective) &&
                        set_thread_ids(self.uid, self.gid) && set_thread_groups(self.groups) &&
                        set_effective(self.capabilities, self.effective);
  if (restored) return;
  std::fputs("insitu: a thread could not return to its own identity\n", stderr);
  std::abort();
}

}  // namespace

PrincipalScope::PrincipalScope(const Principal& principal, Rights rights) {
  const Own& self = own();
  if (!self.may_switch) {
    if (principal.uid == self.uid) return;
    throw Failure(EACCES, "insitu does not run as root and can act only for the user it runs as");
  }
  uint64_t kept = 0;
  if (principal.uid == 0) {
    kept = bit(CAP_DAC_READ_SEARCH);
    if (rights == Rights::Full) kept |= bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER);
  }
  switched_ = true;
  if (!set_thread_groups(principal.groups) || !set_thread_ids(principal.uid, principal.gid) ||
      !set_effective(self.capabilities, kept)) {
    restore();
    throw Failure(EACCES, "the identity of the program's user could not be taken");
  }
}

PrincipalScope::~PrincipalScope() {
  if (switched_) restore();
}

}  // namespace insitu
