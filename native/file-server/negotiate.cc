#include <linux/capability.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "credentials.h"
#include "scratch.h"
#include "session.h"
#include "wire.h"

namespace insitu {

namespace {

constexpr uint64_t bits(unsigned flag) { return flag; }

// What we want of what the kernel offers.
constexpr uint64_t kWanted =
    bits(FUSE_ASYNC_READ) | bits(FUSE_ATOMIC_O_TRUNC) | bits(FUSE_BIG_WRITES) |
    bits(FUSE_DONT_MASK) | bits(FUSE_ASYNC_DIO) |
    bits(FUSE_DO_READDIRPLUS) | bits(FUSE_READDIRPLUS_AUTO) | bits(FUSE_PARALLEL_DIROPS) |
    bits(FUSE_POSIX_ACL) | bits(FUSE_MAX_PAGES) |
    bits(FUSE_HANDLE_KILLPRIV_V2) | bits(FUSE_SETXATTR_EXT) | bits(FUSE_INIT_EXT) |
    wire::kCreateSuppGroup | wire::kHasExpireOnly | wire::kDirectIoAllowMmap |
    wire::kNoExportSupport;

// Requests that the kernel may have under way beyond those that somebody waits for: read-ahead.
constexpr uint16_t kMaxBackground = 64;

}  // namespace

const char* Session::no_passthrough(uint64_t offered) const {
  if (!options_.passthrough) return "turned off";
  if (!(offered & wire::kPassthrough))
    return "the kernel does not offer it: Linux 6.9 or newer does";
  if (!has_capability(CAP_SYS_ADMIN)) return "it needs CAP_SYS_ADMIN";
  // Stores to a mapping never change times there, so they have to come by here.
  if (backing_type_ == kTmpfs) return "the backing directory is on tmpfs";
  return nullptr;
}

void Session::negotiate() {
  alignas(8) std::byte frame[FUSE_MIN_READ_BUFFER];
  ssize_t size;
  do size = ::read(devices_[0].get(), frame, sizeof frame);
  while (size < 0 && errno == EINTR);
  if (size < 0) throw std::system_error(errno, std::generic_category(), "read INIT");
  fuse_in_header header;
  fuse_init_in in{};
  if (static_cast<size_t>(size) < sizeof header)
    throw std::system_error(EPROTO, std::generic_category(), "INIT");
  std::memcpy(&header, frame, sizeof header);
  std::memcpy(&in, frame + sizeof header,
              std::min(static_cast<size_t>(size) - sizeof header, sizeof in));
  if (header.opcode != FUSE_INIT || in.major != wire::kMajor || in.minor < wire::kOldestMinor)
    throw std::system_error(EPROTO, std::generic_category(),
                            "this kernel's FUSE is too old: Linux 5.4 or newer is needed");

  const bool extended = in.flags & FUSE_INIT_EXT;
  const uint64_t offered = in.flags | (extended ? uint64_t{in.flags2} << 32 : 0);
  uint64_t wanted = kWanted;
  // Shared: cached data goes when size or times are not what they were.
  wanted |= bits(options_.exclusive ? FUSE_CACHE_SYMLINKS : FUSE_AUTO_INVAL_DATA);
  // Otherwise they are the kernel's own affair.
  if (options_.shared_backing) wanted |= bits(FUSE_POSIX_LOCKS) | bits(FUSE_FLOCK_LOCKS);
  if (options_.ids) {
    if (!(offered & wire::kAllowIdmap))
      throw std::system_error(ENOTSUP, std::generic_category(), "idmapped mounts need Linux 6.12");
    wanted |= wire::kAllowIdmap;
  }
  const char* const obstacle = no_passthrough(offered);
  if (!obstacle) wanted |= wire::kPassthrough;
  const uint64_t flags = offered & wanted;
  negotiated_.minor = std::min(in.minor, wire::kMinor);
  negotiated_.flags = flags;
  negotiated_.max_write_bytes = kMaxTransferBytes;
  negotiated_.passthrough = !obstacle;
  negotiated_.passthrough_reason = obstacle ? obstacle : "";

  struct {
    fuse_out_header header;
    wire::InitOut init;
  } out{};
  out.header = {sizeof out, 0, header.unique};
  out.init.major = wire::kMajor;
  out.init.minor = wire::kMinor;
  out.init.max_readahead = in.max_readahead;
  out.init.flags = static_cast<uint32_t>(flags);
  out.init.flags2 = static_cast<uint32_t>(flags >> 32);
  out.init.max_background = kMaxBackground;
  out.init.congestion_threshold = kMaxBackground * 3 / 4;
  out.init.max_write = kMaxTransferBytes;
  out.init.time_gran = 1;
  out.init.max_pages = kMaxTransferBytes / 4096;
  // How many filesystems the backing itself is stacked of, with this one.
  if (!obstacle) out.init.max_stack_depth = backing_type_ == kOverlayfs ? 2 : 1;
  if (::write(devices_[0].get(), &out, sizeof out) < 0)
    throw std::system_error(errno, std::generic_category(), "answer INIT");
  if (!obstacle) passthrough_.enable(devices_[0].get());
}

}  // namespace insitu
