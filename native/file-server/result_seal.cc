// How an unchanged result is opened with one request, as any file is, and is fresh all the same.
//
// The kernel asks LOOKUP for a name that is not valid without asking, and GETATTR when mode and owner
// are not: each costs as much as the OPEN. If the name is *sealed*, it asks neither, but OPEN always,
// and GETATTR for each stat: those two then say whether the version still holds, and ESTALE, which
// makes the kernel look the whole path up again, if it does not.
//
// Sealed is an entry that is valid for a second, on an inode whose mode and owner are valid for long while
// size and times are not. The kernel takes all attributes of an answer or none, so that state is made
// in two steps. One answer gives attributes for long, with an entry that must be asked for. At a later
// LOOKUP an empty FUSE_NOTIFY_STORE behind the end of the file makes size and times unknown, and by
// that also makes the kernel drop the attributes of the answer that follows as overtaken; the entry of
// that answer is valid. There is no moment in which a stat could be answered from the cache, but for a
// statx(2) that asks for mode and owner and nothing else: those may be of a version that was overtaken
// within the second for which the entry is valid.
#include <linux/fuse.h>

#include <cerrno>
#include <chrono>

#include "caller_syscall.h"
#include "session.h"
#include "virtual_files.h"

namespace insitu {
namespace {

// fuse_write_update_attr() leaves the size alone since Linux 5.16.
constexpr uint32_t kOldestMinor = 35;

// Attributes are valid for a day (kForeverNs); given again in good time.
constexpr int64_t kRenewSeconds = 12 * 3600;

int64_t monotonic_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

bool VirtualFiles::may_seal() const {
  // Without passthrough each read would ask for the size that is not known.
  return session_->passthrough().enabled() && session_->negotiated().minor >= kOldestMinor &&
         sees_callers_;
}

bool VirtualFiles::seal(VirtualNode& node) {
  const int64_t now = monotonic_seconds();
  const int64_t given = node.attributes_given_at.load();
  if (may_seal() && !node.kept && given != 0 && now - given < kRenewSeconds) {
    // Before the kernel can answer anything without asking.
    node.sealed = true;
    if (session_->notifier().forget_size(node.id) == 0) return true;
  }
  node.attributes_given_at = now;
  return false;
}

void VirtualFiles::unseal(const std::string& key, const ResultSet* set) {
  const uint64_t directory = nodes_.results_directory(key);
  if (set == nullptr || directory == 0) return;
  for (const ResultSet::Result& result : set->results)
    if (nodes_.is_sealed(key, result.name, set->version))
      session_->notifier().invalidate_entry(directory, result.name);
}

// Whether what the node shows is the answer to a look that begins now.
bool VirtualFiles::holds_now(const VirtualNode& node) const {
  if (!node.sealed) return true;  // then a lookup has just said so
  const auto bound = node.bound();
  const ProgramPtr program = programs_.find(node.key);
  return bound && program && !program->writing && program->current == bound->set &&
         bound->set->holds();
}

int VirtualFiles::overtaken(const Request& request, const VirtualNode& node) const {
  if (holds_now(node) || asks_by_descriptor(request.caller().pid)) return 0;
  return ESTALE;
}

// The second attempt in a row is no path, which would have led elsewhere: a descriptor of this very
// version is opened anew (/proc/self/fd, /dev/stdin).
bool VirtualFiles::may_open(const Request& request, VirtualNode& node) const {
  const uint32_t tid = request.caller().pid;
  return holds_now(node) || (tid != 0 && node.refused_tid.exchange(tid) == tid);
}

}  // namespace insitu
