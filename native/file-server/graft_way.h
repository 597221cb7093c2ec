#pragma once

#include <cstdint>
#include <string>

namespace insitu {

class Session;

// Where a path of a mount leads: below which tree's root, and what is last.
struct GraftWay {
  uint32_t tree = 0;
  std::string path;
  std::string name;
};

// Walks `at`, relative to the root of the mount, over the points of grafts but over no link and no
// mount of the backing; directories on the way are made where they are missing. The last part is not
// looked at. Throws std::system_error.
GraftWay make_way(Session& session, const std::string& at);

}  // namespace insitu
