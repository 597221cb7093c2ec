#pragma once

namespace insitu {

// Whether the page cache holds bytes of the file that are not on their way to the disk yet: only
// such pages can be stored to without a fault. True when the kernel cannot tell (before 6.5).
bool has_dirty_pages(int fd);

// Starts writing them and waits; afterwards a store to a mapping faults, and so changes the times.
void write_dirty_pages(int fd);

// Whether anybody at all holds the file open for writing, or has it mapped so. True when the kernel
// does not tell us.
bool has_writers(int fd);

}  // namespace insitu
