// Bind mounts of a dead FUSE connection, replaced where they are.
#pragma once

#include <string>
#include <vector>

#include "common/unique_fd.h"

namespace insitu {

// A tree of the living mount, to be put in the place of one of the same root.
struct Replacement {
  std::string root;  // as in proc_pid_mountinfo(5)
  UniqueFd tree;
};

// `wanted`: "FLAGS:ROOT", where flags are those of mountinfo that are kept. `source`: where the living mount is.
// What has no such root any more is left out. Before enter(). Throws Refusal.
std::vector<Replacement> clone_replacements(const char* source, const std::vector<std::string>& wanted);

// Of all mounts of the device 0:`minor` in this namespace whose server is gone, how many were replaced. Those
// with something mounted in them stay, and those that are seen by other namespaces too. After enter().
int replace_dead(uint32_t minor, std::vector<Replacement> replacements);

}  // namespace insitu
