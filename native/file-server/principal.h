#pragma once

#include <sys/types.h>

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
  bool switched_ = false;
};

}  // namespace insitu
