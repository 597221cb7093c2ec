// Extended attributes, POSIX ACLs among them: the backing filesystem's own, in its own form.

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "attributes.h"
#include "credentials.h"
#include "ops.h"
#include "reopen.h"
#include "scratch.h"

namespace insitu::ops {

namespace {

// XATTR_SIZE_MAX and XATTR_LIST_MAX of the kernel.
constexpr size_t kMaxXattrBytes = 65'536;

// The inode of a request, by a path that xattr calls take, which work on no O_PATH descriptor: its
// magic link, or for a symlink, whose own magic link would lead to where it points, its name as a
// descriptor of its directory has it. A symlink that lost the name it was found by has no attributes.
class Target {
 public:
  Target(Session& session, Request& request) {
    const InodePtr inode = session.inodes().find(request.node());
    if (!inode) {
      request.reply_error(ESTALE);
      return;
    }
    descriptor_ = inode->descriptor();
    if (!descriptor_) {
      request.reply_error(errno);
      return;
    }
    is_symlink_ = inode->is_symlink();
    if (!is_symlink_)
      path_ = ProcPath(descriptor_->get()).c_str();
    else
      find_name(*inode);
  }
  explicit operator bool() const { return descriptor_ != nullptr; }
  bool is_lost() const { return path_.empty(); }
  const char* path() const { return path_.c_str(); }
  bool is_symlink() const { return is_symlink_; }

 private:
  void find_name(const Inode& inode) {
    char where[PATH_MAX];
    const ssize_t size =
        ::readlink(ProcPath(descriptor_->get()).c_str(), where, sizeof where - 1);
    if (size <= 0 || where[0] != '/') return;
    const std::string_view whole{where, static_cast<size_t>(size)};
    const size_t slash = whole.rfind('/');
    const std::string name{whole.substr(slash + 1)};
    directory_.reset(::open(std::string(whole.substr(0, slash + 1)).c_str(),
                            O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat found;
    if (!directory_ ||
        ::fstatat(directory_.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) < 0 ||
        found.st_ino != inode.ino() || found.st_dev != inode.dev())
      return;
    path_ = std::string(ProcPath(directory_.get()).c_str()) + "/" + name;
  }

  Descriptor descriptor_;
  UniqueFd directory_;
  bool is_symlink_ = false;
  std::string path_;
};

// What is said of an attribute of a symlink that has none. It never has ACLs.
int lost(std::string_view name) { return name.starts_with("system.") ? EOPNOTSUPP : ENODATA; }

// Answers a request that asks either for a value or, with size 0, for its size.
template <class Read>
void reply_value(Request& request, uint32_t wanted, Read read) {
  const auto buffer = scratch(std::min<size_t>(wanted, kMaxXattrBytes));
  const ssize_t size = read(reinterpret_cast<char*>(buffer.data()), buffer.size());
  if (size < 0) return void(request.reply_error(errno));
  if (wanted == 0)
    request.reply_with(fuse_getxattr_out{static_cast<uint32_t>(size), 0});
  else
    request.reply(buffer.first(static_cast<size_t>(size)));
}

// The kernel lists `trusted.` names to the privileged only, as whom we ask. Gives the size of what
// stays.
ssize_t drop_trusted(char* names, ssize_t size) {
  char* kept = names;
  for (const char* name = names; name < names + size;) {
    const size_t length = ::strnlen(name, static_cast<size_t>(names + size - name)) + 1;
    if (!std::string_view(name).starts_with("trusted.")) {
      std::memmove(kept, name, length);
      kept += length;
    }
    name += length;
  }
  return kept - names;
}

}  // namespace

void setxattr(Session& session, Request& request) {
  // The long form of the head was negotiated or not; the value follows the name.
  const bool extended = session.negotiated().flags & FUSE_SETXATTR_EXT;
  const size_t head = extended ? sizeof(fuse_setxattr_in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
  if (request.body().size() < head) return void(request.reply_error(EINVAL));
  fuse_setxattr_in in{};
  std::memcpy(&in, request.body().data(), head);
  const std::string_view name = request.name(head);
  const size_t value_offset = head + name.size() + 1;
  if (name.empty() || value_offset + in.size > request.body().size())
    return void(request.reply_error(EINVAL));
  const auto value = request.body().subspan(value_offset, in.size);
  const Target target(session, request);
  if (!target) return;
  if (target.is_lost()) return void(request.reply_error(EOPNOTSUPP));
  const char* const path = target.path();
  // Asked for with default lists too, which change no mode.
  const bool kill_setgid = (in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) &&
                           name == "system.posix_acl_access";
  {
    const bool is_acl = name.starts_with("system.posix_acl_");
    const KeepSetid keep_setid(is_acl && !kill_setgid);
    const auto set = target.is_symlink() ? ::lsetxattr : ::setxattr;
    if (set(path, name.data(), value.data(), value.size(), static_cast<int>(in.flags)) < 0)
      return void(request.reply_error(errno));
  }
  struct stat attributes;
  if (kill_setgid && ::stat(path, &attributes) == 0 && (attributes.st_mode & S_ISGID))
    ::chmod(path, attributes.st_mode & 07777 & ~S_ISGID);
  request.reply_error(0);
}

void getxattr(Session& session, Request& request) {
  const uint32_t wanted = request.arg<fuse_getxattr_in>()->size;
  const std::string_view name = request.name(sizeof(fuse_getxattr_in));
  if (name.empty()) return void(request.reply_error(EINVAL));
  const Target target(session, request);
  if (!target) return;
  if (target.is_lost()) return void(request.reply_error(lost(name)));
  const auto get = target.is_symlink() ? ::lgetxattr : ::getxattr;
  reply_value(request, wanted, [&](char* buffer, size_t size) {
    return get(target.path(), name.data(), buffer, size);
  });
}

void listxattr(Session& session, Request& request) {
  const uint32_t wanted = request.arg<fuse_getxattr_in>()->size;
  const Target target(session, request);
  if (!target) return;
  const auto list = target.is_symlink() ? ::llistxattr : ::listxattr;
  const bool all = request.by_root();
  reply_value(request, wanted, [&](char* buffer, size_t size) -> ssize_t {
    if (target.is_lost()) return 0;
    const ssize_t found = list(target.path(), buffer, size);
    return all || found <= 0 || size == 0 ? found : drop_trusted(buffer, found);
  });
}

void removexattr(Session& session, Request& request) {
  const std::string_view name = request.name(0);
  if (name.empty()) return void(request.reply_error(EINVAL));
  const Target target(session, request);
  if (!target) return;
  if (target.is_lost()) return void(request.reply_error(lost(name)));
  const KeepSetid keep_setid(name.starts_with("system.posix_acl_"));
  const auto remove = target.is_symlink() ? ::lremovexattr : ::removexattr;
  const int done = remove(target.path(), name.data());
  request.reply_error(done < 0 ? errno : 0);
}

}  // namespace insitu::ops
