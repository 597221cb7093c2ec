#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "operation.h"

// One of the two directories, as one process has it.
struct Side {
  int root = -1;
  // SEEK_DATA and SEEK_HOLE tell holes. Then no file gets setid bits: of one that root has open for
  // reading and writing all is data (docs/files.md).
  bool holes = true;
  std::array<int, kSlots> files{-1, -1, -1, -1};
};

// A result as text: a number, or the errno's name.
inline std::string outcome(long result) {
  return result < 0 ? strerrorname_np(errno) : std::to_string(result);
}

uint64_t hash_bytes(const void* bytes, size_t size, uint64_t start = 14695981039346656037u);

// What stat(2) says, without what may differ (device, directory sizes), times apart.
std::string attributes_text(const struct stat& attributes);
// Times that an operation set are long ago and exact; "now" is any other.
std::string time_text(const timespec& time);
