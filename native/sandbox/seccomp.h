#pragma once

#include <linux/filter.h>

#include <vector>

namespace insitu {

// The two system-call filters of a worker. Both are allow-lists; they stack, so a call must pass both
// once the second is there. They depend on nothing but the kernel's headers: the launcher, the
// worker's addon and the tests' native programs compile this same file.

// What a starting Node needs and nothing else. Set before exec (bwrap --seccomp).
std::vector<sock_filter> launch_filter();

// What a running worker needs: no names, no sockets, no programs, no processes. Made for the calling
// process (its pid is part of it).
std::vector<sock_filter> worker_filter();

// Sets a filter on all threads of the process, for good. 0, or an errno.
int install_filter(const std::vector<sock_filter>& filter);

}  // namespace insitu
