// Going to where another process is, for good: its mount namespace and its root, with no more rights there
// than root of its container has.
#pragma once

#include "common/unique_fd.h"

namespace insitu {

constexpr int kGone = 3;

// The process is held by what was taken while it certainly lived, so that a number that is given to another
// meanwhile means nothing; `mount_namespace` is where it was when it was named. Throws Refusal, with kGone
// when there is no such process any more.
void enter(const char* pid, const char* start, const char* mount_namespace);

// By the mount's own root, whatever was renamed or mounted where it stands, and without a word to its
// server. What somebody stacked on it goes before it. After enter(). Throws Refusal.
void take_away(int root);

}  // namespace insitu
