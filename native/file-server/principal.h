#pragma once

#include <linux/capability.h>
#include <sys/types.h>

#include <array>
#include <vector>

namespace insitu {

// On whose rights something is done.
struct Principal {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

// While it lives, the calling thread, and only it, has the file system rights of `principal`: its ids
// and supplementary groups, and no capability but what root's own reading needs. A process that may
// not take other identities can only act for the user it runs as; then construction throws EACCES.
// Restoring that fails ends the process: a thread with foreign rights must not go on.
class PrincipalScope {
 public:
  enum class Rights { Read, Full };  // Full: uid 0 keeps the right to write anywhere, as for access(2)

  explicit PrincipalScope(const Principal& principal, Rights rights = Rights::Read);
  ~PrincipalScope();
  PrincipalScope(const PrincipalScope&) = delete;
  PrincipalScope& operator=(const PrincipalScope&) = delete;

 private:
  void restore() const;

  // What the thread had before; threads of the file server run with less than the process.
  bool switched_ = false;
  std::array<__user_cap_data_struct, 2> capabilities_{};
  std::vector<gid_t> groups_;
};

}  // namespace insitu
