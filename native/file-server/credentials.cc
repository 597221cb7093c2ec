#include "credentials.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "request.h"

namespace insitu {

namespace {

// The C library's wrappers of these change all threads of the process; the system calls only this
// one.
int set_groups(size_t count, const gid_t* groups) {
  return static_cast<int>(::syscall(SYS_setgroups, count, groups));
}

struct Capabilities {
  __user_cap_data_struct words[_LINUX_CAPABILITY_U32S_3]{};

  static Capabilities current() {
    Capabilities out;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    ::syscall(SYS_capget, &header, out.words);
    return out;
  }
  void apply() const {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    ::syscall(SYS_capset, &header, words);
  }
  bool effective(unsigned capability) const {
    return words[capability / 32].effective & (1u << (capability % 32));
  }
  bool permitted(unsigned capability) const {
    return words[capability / 32].permitted & (1u << (capability % 32));
  }
  void raise(unsigned capability) { words[capability / 32].effective |= 1u << (capability % 32); }
  void drop(unsigned capability) { words[capability / 32].effective &= ~(1u << (capability % 32)); }
};

// No file's group: a member of it keeps the setgid bit of a file that he writes to.
constexpr gid_t kNoGroup = static_cast<gid_t>(-2);

struct ThreadState {
  // May become other users. Without it everything belongs to who runs the daemon, and only that
  // user can be the caller.
  bool switches = false;
  bool may_keep_setid = false;
  // Capabilities do not follow the file-system uid, which saves setting them at each switch.
  bool no_fixup = false;
  Capabilities base;
  // Without a umask of its own (unshare(2) is forbidden here) the thread leaves the process's
  // alone, and takes the caller's off the mode.
  bool own_umask = false;
  mode_t umask = 0;
};

thread_local ThreadState state;

void raise_setid() {
  Capabilities raised = state.base;
  raised.raise(CAP_FSETID);
  raised.apply();
}

}  // namespace

bool has_capability(unsigned capability) { return Capabilities::current().effective(capability); }

void prepare_serving_thread() {
  state.own_umask = ::unshare(CLONE_FS) == 0;
  if (state.own_umask) ::umask(0);
  state.base = Capabilities::current();
  state.switches = ::geteuid() == 0 && state.base.permitted(CAP_SETUID) &&
                   state.base.permitted(CAP_SETGID);
  if (!state.switches) return;
  set_groups(0, nullptr);
  ::setfsgid(kNoGroup);
  const int bits = ::prctl(PR_GET_SECUREBITS);
  state.no_fixup = bits >= 0 && ::prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) == 0;
  state.may_keep_setid = state.base.permitted(CAP_FSETID);
  state.base.drop(CAP_FSETID);
  state.base.drop(CAP_SYS_RESOURCE);
  state.base.apply();
}

CreateAs::CreateAs(const Request& request, mode_t mode, mode_t umask)
    : mode_(state.own_umask ? mode : mode & ~umask) {
  if (state.own_umask && umask != state.umask) {
    ::umask(umask);
    state.umask = umask;
  }
  if (!state.switches) return;
  const CallerIds caller = request.caller();
  if (const auto group = request.supplementary_group(); group && caller.uid != 0) {
    const gid_t groups[] = {*group};
    switched_groups_ = set_groups(1, groups) == 0;
  }
  ::setfsgid(caller.gid);
  if (caller.uid != 0) {
    ::setfsuid(caller.uid);
    switched_uid_ = true;
    if (!state.no_fixup) state.base.apply();
  } else if ((mode & S_ISGID) && state.may_keep_setid) {
    raise_setid();
    raised_ = true;
  }
}

CreateAs::~CreateAs() {
  if (switched_uid_) ::setfsuid(0);
  if (state.switches) ::setfsgid(kNoGroup);
  if (switched_groups_) set_groups(0, nullptr);
  if (raised_ || (switched_uid_ && !state.no_fixup)) state.base.apply();
}

KeepSetid::KeepSetid(bool needed) : raised_(needed && state.may_keep_setid) {
  if (raised_) raise_setid();
}

KeepSetid::~KeepSetid() {
  if (raised_) state.base.apply();
}

}  // namespace insitu
