#pragma once

#include <sys/stat.h>

#include <string_view>

#include "session.h"
#include "wire.h"

namespace insitu {

// A span of ns as the wire has it: seconds, and the rest.
constexpr uint64_t seconds_of(uint64_t ns) { return ns / 1'000'000'000; }
constexpr uint32_t nanoseconds_of(uint64_t ns) { return static_cast<uint32_t>(ns % 1'000'000'000); }

fuse_attr attributes_of(Session& session, const Inode& inode, const struct stat& attributes);
// The inode number to show: the volume's own, made distinct for every other filesystem.
uint64_t shown_ino(Session& session, const Filesystem& filesystem, ino_t ino);
// How long the kernel may keep attributes of `inode`.
uint64_t attributes_ns(const Session& session, const Inode& inode);

// 0 or an errno.
int stat_inode(const Inode& inode, struct stat& attributes);
void reply_attributes(Session& session, Request& request, const Inode& inode,
                      const struct stat& attributes);

// Remembers what `path` (O_PATH), found as `name` of `parent`, refers to, once more looked up, and
// fills the entry to send: it must be forgotten once if it is not sent.
InodePtr remember(Session& session, UniqueFd path, const FileStat& attributes,
                  const Inode& parent, std::string_view name, fuse_entry_out& out);
// Walks one name of a directory, without following, and remembers what it finds, which may be the
// root of a graft. 0 or an errno.
int look_up(Session& session, const Inode& parent, std::string_view name, fuse_entry_out& out,
            InodePtr& child);
// Sends an entry, and takes the look-up back when the kernel did not get it.
void reply_entry(Session& session, Request& request, const fuse_entry_out& out);

// One component that can stand in a directory: the kernel sends no others.
bool is_component(std::string_view name);

}  // namespace insitu
