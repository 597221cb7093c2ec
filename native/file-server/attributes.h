#pragma once

#include <sys/stat.h>

#include <string_view>

#include "session.h"
#include "wire.h"

namespace insitu {

fuse_attr attributes_of(const struct stat& attributes);
// 0 or an errno.
int stat_inode(const Inode& inode, struct stat& attributes);
void fill_attributes(const Session& session, const struct stat& attributes, fuse_attr_out& out);

// Walks one name of a directory: opens it without following and remembers it once more. Returns 0 or
// an errno; on success `out` is ready to be sent, and `child` must be forgotten once if it is not.
int look_up(Session& session, const Inode& parent, std::string_view name, fuse_entry_out& out,
            InodePtr& child);
// Sends an entry, and takes the look-up back when the kernel did not get it.
void reply_entry(Session& session, Request& request, const fuse_entry_out& out,
                 std::span<const std::byte> more = {});

// One component that can stand in a directory: the kernel sends no others.
bool is_component(std::string_view name);

}  // namespace insitu
