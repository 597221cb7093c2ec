#pragma once

#include <string>

#include "common/unique_fd.h"

namespace insitu {

// O_PATH description of a directory that an operator named. A link on the way is followed only if it
// belongs to root or to whom we run as: whoever owns a directory above could put one there, and we
// would serve, or copy, what only we can reach. -1 with errno, EPERM for such a link.
UniqueFd open_backing(const std::string& path);

}  // namespace insitu
