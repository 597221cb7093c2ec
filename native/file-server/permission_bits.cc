#include "file-server/permission_bits.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

namespace insitu {
namespace {

// A page full of entries; one with more allows nobody but root.
constexpr size_t kMaxAclBytes = 4'096;

bool is_member(const Principal& principal, gid_t gid) {
  return principal.gid == gid || std::ranges::find(principal.groups, gid) != principal.groups.end();
}

}  // namespace

bool is_permitted(int fd, const Attributes& attributes, const Principal& principal,
                  uint32_t wanted) {
  if (principal.uid == 0) return true;
  const bool owner = principal.uid == attributes.uid;
  if (owner) return (attributes.mode >> 6 & wanted) == wanted;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  alignas(8) std::array<std::byte, kMaxAclBytes> acl;
  const ssize_t size = getxattr(path.c_str(), "system.posix_acl_access", acl.data(), acl.size());
  if (size < 0 && errno == ERANGE) return false;
  if (size < static_cast<ssize_t>(sizeof(posix_acl_xattr_header))) {
    const unsigned shift = is_member(principal, attributes.gid) ? 3 : 0;
    return (attributes.mode >> shift & wanted) == wanted;
  }
  // As acl(5) has it: the entry of the user, else any of the groups, else the others'. The mask, which
  // stands in the mode's group bits, bounds all but the last.
  const uint32_t mask = attributes.mode >> 3 & 7;
  uint32_t others = 0;
  bool in_group = false, by_group = false;
  for (size_t at = sizeof(posix_acl_xattr_header);
       at + sizeof(posix_acl_xattr_entry) <= static_cast<size_t>(size);
       at += sizeof(posix_acl_xattr_entry)) {
    posix_acl_xattr_entry entry;
    std::memcpy(&entry, acl.data() + at, sizeof entry);
    const bool enough = (entry.e_perm & mask & wanted) == wanted;
    switch (entry.e_tag) {
      case ACL_USER:
        if (entry.e_id == principal.uid) return enough;
        break;
      case ACL_GROUP_OBJ:
      case ACL_GROUP:
        if (!is_member(principal, entry.e_tag == ACL_GROUP ? entry.e_id : attributes.gid)) break;
        in_group = true;
        by_group = by_group || enough;
        break;
      case ACL_OTHER:
        others = entry.e_perm;
        break;
      default:
        break;
    }
  }
  return in_group ? by_group : (others & wanted) == wanted;
}

}  // namespace insitu
