#pragma once

#include <string>
#include <vector>

namespace insitu {

struct Ended {
  int status;  // of exit(2); -1: killed, its time was over
  std::string out, err;
};

// Runs a program of ours that takes its words as mount_attach does, and waits for it, for a bounded time. `root` is
// given to it; -1: none. Throws Failure when it cannot be started.
Ended run_helper(const std::string& program, const std::vector<std::string>& words, int root);

// Starts one that waits for the next order, unless one does. Throws Failure.
void prepare_helper(const std::string& program);

}  // namespace insitu
