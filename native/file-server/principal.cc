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

using Capabilities = std::array<__user_cap_data_struct, 2>;

constexpr uint64_t bit(int capability) { return uint64_t{1} << capability; }

bool read_capabilities(Capabilities& out) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &header, out.data()) == 0;
}

bool write_capabilities(const Capabilities& data) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capset, &header, data.data()) == 0;
}

uint64_t effective_of(const Capabilities& data) {
  return uint64_t{data[0].effective} | (uint64_t{data[1].effective} << 32);
}

// The effective set becomes `wanted` as far as it is permitted.
bool set_effective(const Capabilities& from, uint64_t wanted) {
  Capabilities next = from;
  next[0].effective = static_cast<uint32_t>(wanted) & from[0].permitted;
  next[1].effective = static_cast<uint32_t>(wanted >> 32) & from[1].permitted;
  return write_capabilities(next);
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

std::vector<gid_t> thread_groups() {
  std::vector<gid_t> groups;
  const int count = getgroups(0, nullptr);
  if (count <= 0) return groups;
  groups.resize(static_cast<size_t>(count));
  groups.resize(static_cast<size_t>(std::max(getgroups(count, groups.data()), 0)));
  return groups;
}

}  // namespace

PrincipalScope::PrincipalScope(const Principal& principal, Rights rights) {
  constexpr uint64_t needed = bit(CAP_SETUID) | bit(CAP_SETGID);
  const bool may_switch = geteuid() == 0 && read_capabilities(capabilities_) &&
                          (effective_of(capabilities_) & needed) == needed;
  if (!may_switch) {
    if (principal.uid == geteuid()) return;
    throw Failure(EACCES, "insitu does not run as root and can act only for the user it runs as");
  }
  uint64_t kept = 0;
  if (principal.uid == 0) {
    kept = bit(CAP_DAC_READ_SEARCH);
    if (rights == Rights::Full) kept |= bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER);
  }
  groups_ = thread_groups();
  switched_ = true;
  if (!set_thread_groups(principal.groups) || !set_thread_ids(principal.uid, principal.gid) ||
      !set_effective(capabilities_, kept)) {
    restore();
    throw Failure(EACCES, "the identity of the program's user could not be taken");
  }
}

PrincipalScope::~PrincipalScope() {
  if (switched_) restore();
}

void PrincipalScope::restore() const {
  // The capabilities first, as the ids need them; and last, as the ids change them.
  const bool restored = write_capabilities(capabilities_) &&
                        set_thread_ids(geteuid(), getegid()) && set_thread_groups(groups_) &&
                        write_capabilities(capabilities_);
  if (restored) return;
  std::fputs("insitu: a thread could not return to its own identity\n", stderr);
  std::abort();
}

}  // namespace insitu
