#pragma once

#include <string>
#include <vector>

namespace insitu {

struct Ended {
  int status;  // of exit(2); -1: killed, its time was over
  std::string out, err;
};

// Runs a program of ours with `words` and waits for it, for a bounded time. `root` becomes its descriptor 3; -1:
// none. Throws Failure when it cannot be started.
Ended run_helper(std::vector<std::string> words, int root);

}  // namespace insitu
