#include "mount_writers.h"

#include <algorithm>

namespace insitu {
namespace {

// The kernel writes one file's dirty pages in this time, or the disk hangs; then the identity does not
// settle, which only costs a run.
constexpr unsigned kWriteBackMs = 5'000;

}  // namespace

MountWriters::MountWriters(const std::shared_ptr<Session>& session, const Tree& tree)
    : session_(session), tree_(tree.id), exclusive_(tree.exclusive) {}

Writers MountWriters::writers(uint64_t dev, uint64_t ino) {
  const auto session = session_.lock();
  const InodePtr inode = session ? session->inodes().find(tree_, dev, ino) : nullptr;
  if (!inode) return {};
  const WriteActivity activity = inode->write_activity();
  Writers out;
  out.read_write_now = activity.read_writers;
  out.overwriters_ever = std::max(activity.last_writer, activity.last_read_writer);
  out.appenders_ever = activity.last_appender;
  out.ever_read_write = activity.last_read_writer != 0;
  return out;
}

void MountWriters::write_back(uint64_t dev, uint64_t ino) {
  const auto session = session_.lock();
  const InodePtr inode = session ? session->inodes().find(tree_, dev, ino) : nullptr;
  if (!inode) return;
  session->notifier().invalidate_inode(inode->node());
  session->notifier().drain(kWriteBackMs);
}

bool MountWriters::is_covered(uint64_t dev, uint64_t ino) {
  const auto session = session_.lock();
  return session && session->grafts().is_covered(tree_, dev, ino);
}

std::vector<std::string> MountWriters::points_in(uint64_t dev, uint64_t ino) {
  const auto session = session_.lock();
  return session ? session->grafts().points_in(tree_, dev, ino) : std::vector<std::string>{};
}

}  // namespace insitu
