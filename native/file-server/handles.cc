#include "handles.h"

#include "reopen.h"

namespace insitu {

FileHandle::FileHandle(UniqueFd fd, InodePtr inode, int flags, Passthrough& passthrough,
                       IoMode mode)
    : inode_(std::move(inode)),
      flags_(flags),
      passthrough_(passthrough),
      mode_(mode),
      opened_(fd.get()),
      fd_(std::move(fd)),
      hold_(inode_->tree().quota.get(), fd_.get()) {
  inode_->opened(flags_);
  ++inode_->tree().open;
}

FileHandle::~FileHandle() {
  --inode_->tree().open;
  inode_->released(flags_);
  passthrough_.released(inode_->io_state(), mode_);
}

int FileHandle::descriptor() {
  if (const int fd = opened_; fd >= 0) return fd;
  const std::lock_guard lock(opening_);
  if (!fd_) {
    const Descriptor path = inode_->descriptor();
    if (!path) return -1;
    fd_ = reopen(path->get(), O_RDONLY);
    opened_ = fd_.get();
  }
  return fd_.get();
}

}  // namespace insitu
