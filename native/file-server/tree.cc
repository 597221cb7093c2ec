#include "tree.h"

#include <sys/vfs.h>

#include "local_filesystem.h"

namespace insitu {

uint64_t describe(Tree& tree, int root) {
  struct statfs filesystem{};
  ::fstatfs(root, &filesystem);
  const auto type = static_cast<uint64_t>(filesystem.f_type);
  tree.closes_silently = is_local_filesystem(type);
  // Stores to a mapping never change times there, so they have to come by here.
  tree.may_pass = type != kTmpfs;
  return type;
}

}  // namespace insitu
