#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>

#include "attributes.h"
#include "ops.h"

namespace insitu {

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

}  // namespace

bool is_component(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

fuse_attr attributes_of(const struct stat& attributes) {
  fuse_attr out{};
  out.ino = attributes.st_ino;
  out.size = static_cast<uint64_t>(attributes.st_size);
  out.blocks = static_cast<uint64_t>(attributes.st_blocks);
  out.atime = static_cast<uint64_t>(attributes.st_atim.tv_sec);
  out.mtime = static_cast<uint64_t>(attributes.st_mtim.tv_sec);
  out.ctime = static_cast<uint64_t>(attributes.st_ctim.tv_sec);
  out.atimensec = static_cast<uint32_t>(attributes.st_atim.tv_nsec);
  out.mtimensec = static_cast<uint32_t>(attributes.st_mtim.tv_nsec);
  out.ctimensec = static_cast<uint32_t>(attributes.st_ctim.tv_nsec);
  out.mode = attributes.st_mode;
  out.nlink = static_cast<uint32_t>(attributes.st_nlink);
  out.uid = attributes.st_uid;
  out.gid = attributes.st_gid;
  // The kernel's own 32-bit encoding of device numbers.
  const uint32_t major = gnu_dev_major(attributes.st_rdev);
  const uint32_t minor = gnu_dev_minor(attributes.st_rdev);
  out.rdev = (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
  out.blksize = static_cast<uint32_t>(attributes.st_blksize);
  return out;
}

int stat_inode(const Inode& inode, struct stat& attributes) {
  const Descriptor path = inode.descriptor();
  if (!path) return errno;
  return ::fstatat(path->get(), "", &attributes, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

void fill_attributes(const Session& session, const struct stat& attributes, fuse_attr_out& out) {
  out = {};
  out.attr_valid = session.cache_times().attributes_ns / kSecond;
  out.attr_valid_nsec = session.cache_times().attributes_ns % kSecond;
  out.attr = attributes_of(attributes);
}

int look_up(Session& session, const Inode& parent, std::string_view name, fuse_entry_out& out,
            InodePtr& child) {
  if (!is_component(name)) return name.empty() ? ENOENT : EINVAL;
  const Descriptor directory = parent.descriptor();
  if (!directory) return errno;
  // Names in a request end with NUL.
  UniqueFd path(::openat(directory->get(), name.data(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!path) return errno;
  struct stat attributes;
  if (::fstatat(path.get(), "", &attributes, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) return errno;
  child = session.inodes().remember(std::move(path), attributes);
  const CacheTimes& times = session.cache_times();
  out = {};
  out.nodeid = child->node();
  out.generation = 1;
  out.entry_valid = times.entry_ns / kSecond;
  out.entry_valid_nsec = times.entry_ns % kSecond;
  out.attr_valid = times.attributes_ns / kSecond;
  out.attr_valid_nsec = times.attributes_ns % kSecond;
  out.attr = attributes_of(attributes);
  return 0;
}

void reply_entry(Session& session, Request& request, const fuse_entry_out& out,
                 std::span<const std::byte> more) {
  if (request.reply(std::as_bytes(std::span{&out, 1}), more) != 0)
    session.inodes().forget(out.nodeid, 1);
}

namespace ops {

void lookup(Session& session, Request& request) {
  const InodePtr parent = session.inodes().find(request.node());
  if (!parent) return void(request.reply_error(ESTALE));
  fuse_entry_out out;
  InodePtr child;
  const int error = look_up(session, *parent, request.name(0), out, child);
  if (error == 0) return reply_entry(session, request, out);
  const uint64_t negative_ns = session.cache_times().negative_ns;
  if (error != ENOENT || negative_ns == 0) return void(request.reply_error(error));
  // Node 0 is a name that is known not to be there.
  out = {};
  out.entry_valid = negative_ns / kSecond;
  out.entry_valid_nsec = negative_ns % kSecond;
  request.reply_with(out);
}

void forget(Session& session, Request& request) {
  request.no_reply();
  const uint64_t lookups = request.arg<fuse_forget_in>()->nlookup;
  if (!is_virtual(request.node())) {
    session.inodes().forget(request.node(), lookups);
  } else if (auto* layer = session.virtual_layer()) {
    layer->forget(request.node(), lookups);
  }
}

void batch_forget(Session& session, Request& request) {
  request.no_reply();
  auto rest = request.body();
  const size_t count = request.arg<fuse_batch_forget_in>()->count;
  rest = rest.subspan(sizeof(fuse_batch_forget_in));
  for (size_t i = 0; i < count && rest.size() >= sizeof(fuse_forget_one); ++i) {
    fuse_forget_one one;
    std::memcpy(&one, rest.data(), sizeof one);
    rest = rest.subspan(sizeof one);
    if (!is_virtual(one.nodeid)) {
      session.inodes().forget(one.nodeid, one.nlookup);
    } else if (auto* layer = session.virtual_layer()) {
      layer->forget(one.nodeid, one.nlookup);
    }
  }
}

}  // namespace ops
}  // namespace insitu
