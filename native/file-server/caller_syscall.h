#pragma once

#include <cstdint>

namespace insitu {

// Whether the thread, which waits for the answer to a request on attributes, asked by a descriptor
// (fstat, fgetxattr and their like) rather than by a path; the kernel's request does not tell. False
// also where it cannot be told: calls of io_uring, and of 32-bit programs.
bool asks_by_descriptor(uint32_t tid);

// Whether this process may see what others wait for.
bool can_see_callers();

}  // namespace insitu
