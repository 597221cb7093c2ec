#pragma once

#include "graft_table.h"

namespace insitu {

// What a graft's parts are made of; each throws std::system_error.

// An existing directory below `root`, reached by no link and over no mount. O_PATH.
UniqueFd open_point_directory(int root, const std::string& path);
// The directory `name`, empty and ours to cover. Whether it had to be made.
bool make_stub(int parent, const std::string& name);
// Of the directory `from` up to `root`, both included.
std::vector<std::pair<dev_t, ino_t>> directories_up(int from, int root);

}  // namespace insitu
