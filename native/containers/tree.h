// The mount that is moved in.
#pragma once

#include <string>

#include "common/unique_fd.h"

namespace insitu {

// A clone of the directory `name` of the mount that `root` is the root of, with the flags of a volume in a
// container. `ids`: none, or how its ids are shown, as IdMap::parse has them, users' and groups'.
// Throws Refusal.
struct TreeOptions {
  std::string name;
  bool read_only;
  std::string user_ids, group_ids;
};
UniqueFd clone_tree(int root, const TreeOptions& options);

}  // namespace insitu
