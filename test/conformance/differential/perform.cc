// The operations themselves.
#include <dirent.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <memory>

#include "side.h"

namespace {

template <class T, size_t N>
const T& pick(const T (&choices)[N], uint32_t choice) {
  return choices[choice % N];
}

int& file(Side& side, const Operation& operation) { return side.files[operation.slot]; }

// For O_DIRECT, whose alignment is the backing filesystem's own business: always aligned.
bool is_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT);
}
int64_t aligned(int64_t value) { return value & ~int64_t{4095}; }

struct Span {
  int64_t offset;
  size_t length;
  Span(int fd, const Operation& operation)
      : offset(operation.offset), length(static_cast<size_t>(operation.length)) {
    if (!is_direct(fd)) return;
    offset = aligned(offset);
    length = static_cast<size_t>(aligned(operation.length) + 4096);
  }
};

struct Buffer {
  std::unique_ptr<char, decltype(&::free)> bytes{nullptr, ::free};
  explicit Buffer(size_t size)
      : bytes(static_cast<char*>(::aligned_alloc(4096, (size + 8192) & ~size_t{4095})), ::free) {}
  char* data() { return bytes.get(); }
};

Buffer pattern(size_t size, uint32_t seed) {
  Buffer buffer(size);
  for (size_t i = 0; i < size; i += 1) buffer.data()[i] = static_cast<char>(seed + i * 7 + (i >> 8));
  return buffer;
}

std::string with_bytes(ssize_t got, const char* bytes) {
  if (got <= 0) return outcome(got);
  return outcome(got) + " bytes " + std::to_string(hash_bytes(bytes, static_cast<size_t>(got)));
}

mode_t mode_for(const Side& side, mode_t mode) { return side.holes ? mode & ~mode_t{06000} : mode; }

std::string open_it(Side& side, const Operation& op) {
  static constexpr int kAccess[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
  static constexpr int kHow[] = {0, 0, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_CREAT | O_TRUNC,
                                 O_APPEND, O_CREAT | O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_PATH,
                                 O_PATH | O_NOFOLLOW, O_SYNC, O_CREAT | O_DIRECT, O_NOATIME,
                                 O_CREAT | O_DIRECTORY};
  static constexpr mode_t kModes[] = {0644, 0600, 0666, 0444, 0, 04755, 02770, 07777};
  const int flags = pick(kAccess, op.choice) | pick(kHow, op.choice >> 2) | O_NONBLOCK | O_CLOEXEC;
  int& fd = file(side, op);
  if (fd >= 0) ::close(fd);
  fd = ::open(path_of(op.path).c_str(), flags, mode_for(side, pick(kModes, op.choice >> 16)));
  return fd < 0 ? outcome(-1) : "open";
}
std::string tmpfile_it(Side& side, const Operation& op) {
  int& fd = file(side, op);
  if (fd >= 0) ::close(fd);
  fd = ::open(path_of(op.path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | (op.choice % 4 ? 0 : O_EXCL),
              0640);
  return fd < 0 ? outcome(-1) : "open";
}
std::string close_it(Side& side, const Operation& op) {
  const int closed = ::close(file(side, op));
  const std::string said = outcome(closed);
  file(side, op) = -1;
  return said;
}
std::string read_it(Side& side, const Operation& op) {
  const int fd = file(side, op);
  const Span span(fd, op);
  Buffer buffer(span.length);
  const bool at_position = op.choice % 2 && !is_direct(fd);
  const ssize_t got = at_position ? ::read(fd, buffer.data(), span.length)
                                  : ::pread(fd, buffer.data(), span.length, span.offset);
  return with_bytes(got, buffer.data());
}
std::string write_it(Side& side, const Operation& op) {
  const int fd = file(side, op);
  const Span span(fd, op);
  Buffer bytes = pattern(span.length, op.choice);
  if (op.choice % 2 && !is_direct(fd)) return outcome(::write(fd, bytes.data(), span.length));
  return outcome(::pwrite(fd, bytes.data(), span.length, span.offset));
}
std::string map_read(Side& side, const Operation& op) {
  struct stat st;
  if (::fstat(file(side, op), &st) < 0 || !S_ISREG(st.st_mode)) return "no file";
  if (st.st_size == 0 || st.st_size > 1 << 20) return "no size";
  const auto size = static_cast<size_t>(st.st_size);
  void* const map = ::mmap(nullptr, size, PROT_READ, op.choice % 2 ? MAP_SHARED : MAP_PRIVATE,
                           file(side, op), 0);
  if (map == MAP_FAILED) return outcome(-1);
  const uint64_t hash = hash_bytes(map, size);
  ::munmap(map, size);
  return "mapped " + std::to_string(hash);
}
std::string map_write(Side& side, const Operation& op) {
  struct stat st;
  if (::fstat(file(side, op), &st) < 0 || !S_ISREG(st.st_mode)) return "no file";
  if (st.st_size <= op.offset || st.st_size > 1 << 20) return "no size";
  const auto size = static_cast<size_t>(st.st_size);
  void* const map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file(side, op), 0);
  if (map == MAP_FAILED) return outcome(-1);
  const size_t length = std::min<size_t>(static_cast<size_t>(op.length), size - static_cast<size_t>(op.offset));
  Buffer bytes = pattern(length, op.choice);
  std::memcpy(static_cast<char*>(map) + op.offset, bytes.data(), length);
  const int synced = ::msync(map, size, MS_SYNC);
  const std::string said = outcome(synced);
  ::munmap(map, size);
  return said;
}
int64_t size_to_set(const Operation& op) {
  if (op.choice % 64 == 0) return (int64_t{5} << 30) + op.offset;
  if (op.choice % 64 == 1) return -1;
  return op.choice % 4 ? op.offset : op.length % 64;
}
std::string ftruncate_it(Side& side, const Operation& op) {
  return outcome(::ftruncate(file(side, op), size_to_set(op)));
}
std::string truncate_it(Side&, const Operation& op) {
  return outcome(::truncate(path_of(op.path).c_str(), size_to_set(op)));
}
std::string fallocate_it(Side& side, const Operation& op) {
  static constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE,
                                   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   FALLOC_FL_ZERO_RANGE,
                                   FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                   FALLOC_FL_PUNCH_HOLE};
  return outcome(::fallocate(file(side, op), pick(kModes, op.choice), op.offset, op.length));
}
std::string seek_it(Side& side, const Operation& op) {
  static constexpr int kWhence[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 77};
  struct stat st;
  // What an offset of a directory means is its filesystem's business.
  if (::fstat(file(side, op), &st) == 0 && S_ISDIR(st.st_mode)) return "directory";
  const int64_t offset = op.choice % 16 == 0 ? -op.offset : op.offset;
  const int whence = pick(kWhence, op.choice >> 4);
  if (!side.holes && (whence == SEEK_DATA || whence == SEEK_HOLE)) return "holes";
  return outcome(::lseek(file(side, op), offset, whence));
}
std::string sync_it(Side& side, const Operation& op) {
  return outcome(op.choice % 2 ? ::fsync(file(side, op)) : ::fdatasync(file(side, op)));
}
std::string copy_range(Side& side, const Operation& op) {
  loff_t from = op.offset, to = op.choice % 100'000;
  const int in = file(side, op), out = side.files[op.other_slot];
  if (is_direct(in) || is_direct(out)) return "direct";
  return outcome(::copy_file_range(in, &from, out, &to, static_cast<size_t>(op.length), 0));
}
std::string stat_slot(Side& side, const Operation& op) {
  struct stat st;
  return ::fstat(file(side, op), &st) < 0 ? outcome(-1) : attributes_text(st);
}

std::string mkdir_it(Side&, const Operation& op) {
  static constexpr mode_t kModes[] = {0755, 0777, 0700, 01777, 02775, 07777, 0, 0555};
  return outcome(::mkdir(path_of(op.path).c_str(), pick(kModes, op.choice)));
}
std::string rmdir_it(Side&, const Operation& op) { return outcome(::rmdir(path_of(op.path).c_str())); }
std::string unlink_it(Side&, const Operation& op) {
  return outcome(::unlink(path_of(op.path).c_str()));
}
constexpr unsigned kRenames[] = {0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE,
                                 RENAME_WHITEOUT, RENAME_NOREPLACE | RENAME_EXCHANGE};
std::string rename_it(Side&, const Operation& op) {
  return outcome(::syscall(SYS_renameat2, AT_FDCWD, path_of(op.path).c_str(), AT_FDCWD,
                           path_of(op.other_path).c_str(), pick(kRenames, op.choice)));
}
std::string link_it(Side&, const Operation& op) {
  return outcome(::linkat(AT_FDCWD, path_of(op.path).c_str(), AT_FDCWD,
                          path_of(op.other_path).c_str(), op.choice % 4 ? 0 : AT_SYMLINK_FOLLOW));
}
std::string link_slot(Side& side, const Operation& op) {
  const std::string open = "/proc/self/fd/" + std::to_string(file(side, op));
  return outcome(::linkat(AT_FDCWD, open.c_str(), AT_FDCWD, path_of(op.path).c_str(),
                          AT_SYMLINK_FOLLOW));
}
std::string symlink_it(Side&, const Operation& op) {
  static const std::string kTargets[] = {"a", "b", "b/c", "./d", "c/d/e", "none", "f/", std::string(300, 'x'),
                                         "a/.", std::string(4096, 'y')};
  return outcome(::symlink(pick(kTargets, op.choice).c_str(), path_of(op.path).c_str()));
}
std::string readlink_it(Side&, const Operation& op) {
  char buffer[5000];
  const ssize_t got = ::readlink(path_of(op.path).c_str(), buffer, op.choice % 8 ? sizeof buffer : 3);
  return with_bytes(got, buffer);
}
std::string mknod_it(Side&, const Operation& op) {
  static constexpr mode_t kTypes[] = {S_IFIFO, S_IFSOCK, S_IFREG, S_IFDIR, S_IFIFO};
  return outcome(::mknod(path_of(op.path).c_str(), pick(kTypes, op.choice) | 0640, 0));
}
std::string list_it(Side&, const Operation& op) {
  DIR* const directory = ::opendir(path_of(op.path).c_str());
  if (!directory) return outcome(-1);
  std::vector<std::string> found;
  errno = 0;
  while (const dirent* entry = ::readdir(directory))
    found.push_back(std::string(entry->d_name) + ":" + std::to_string(entry->d_type));
  std::string text = errno ? outcome(-1) : "names";
  ::closedir(directory);
  std::sort(found.begin(), found.end());
  for (const auto& name : found) text += " " + name;
  return text;
}
std::string access_it(Side&, const Operation& op) {
  return outcome(::access(path_of(op.path).c_str(), static_cast<int>(op.choice % 8)));
}
std::string stat_it(Side&, const Operation& op) {
  struct stat st;
  const int got = ::fstatat(AT_FDCWD, path_of(op.path).c_str(), &st,
                            op.choice % 2 ? 0 : AT_SYMLINK_NOFOLLOW);
  return got < 0 ? outcome(-1) : attributes_text(st);
}
std::string statx_it(Side&, const Operation& op) {
  struct statx st{};
  if (::statx(AT_FDCWD, path_of(op.path).c_str(), AT_SYMLINK_NOFOLLOW,
              STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
    return outcome(-1);
  const auto ns = [](const statx_timestamp& time) { return time.tv_sec * 1'000'000'000ll + time.tv_nsec; };
  return "mask " + std::to_string(st.stx_mask & (STATX_BASIC_STATS | STATX_BTIME)) + " born first " +
         std::to_string(ns(st.stx_btime) <= ns(st.stx_ctime)) + " links " + std::to_string(st.stx_nlink);
}

constexpr mode_t kChmods[] = {0644, 0600, 0666, 0777, 0755, 0, 04755, 02755, 06777, 01777, 02644, 0444, 0555, 0700};
std::string chmod_it(Side& side, const Operation& op) {
  return outcome(::chmod(path_of(op.path).c_str(), mode_for(side, pick(kChmods, op.choice))));
}
std::string fchmod_it(Side& side, const Operation& op) {
  return outcome(::fchmod(file(side, op), mode_for(side, pick(kChmods, op.choice))));
}
constexpr uid_t kOwners[] = {0, 3001, 3002, static_cast<uid_t>(-1), static_cast<uid_t>(-1)};
constexpr gid_t kGroups[] = {0, 3001, 3100, static_cast<gid_t>(-1), static_cast<gid_t>(-1)};
// Not told from the start of a write by somebody else (docs/files.md).
bool changes_neither(const Operation& op) {
  return ::geteuid() != 0 && pick(kOwners, op.choice) == static_cast<uid_t>(-1) &&
         pick(kGroups, op.choice >> 8) == static_cast<gid_t>(-1);
}
std::string chown_it(Side&, const Operation& op) {
  if (changes_neither(op)) return "neither";
  return outcome(::fchownat(AT_FDCWD, path_of(op.path).c_str(), pick(kOwners, op.choice),
                            pick(kGroups, op.choice >> 8), op.choice & 0x10000 ? AT_SYMLINK_NOFOLLOW : 0));
}
std::string fchown_it(Side& side, const Operation& op) {
  if (changes_neither(op)) return "neither";
  return outcome(::fchown(file(side, op), pick(kOwners, op.choice), pick(kGroups, op.choice >> 8)));
}
void set_times(const Operation& op, timespec (&times)[2]) {
  for (int i = 0; i < 2; i += 1) {
    const uint32_t choice = op.choice >> (8 * i);
    times[i] = choice % 4 == 0   ? timespec{0, UTIME_NOW}
               : choice % 4 == 1 ? timespec{0, UTIME_OMIT}
                                 : timespec{static_cast<time_t>(choice % 1'500'000'000), op.offset};
  }
}
std::string utimes_it(Side&, const Operation& op) {
  timespec times[2];
  set_times(op, times);
  return outcome(::utimensat(AT_FDCWD, path_of(op.path).c_str(), times,
                             op.choice & 0x10000 ? AT_SYMLINK_NOFOLLOW : 0));
}
std::string futimes_it(Side& side, const Operation& op) {
  timespec times[2];
  set_times(op, times);
  return outcome(::futimens(file(side, op), times));
}

constexpr const char* kAttributes[] = {"user.x", "user.y", "trusted.z", "user.", "nonsense.x",
                                       "security.capability", "system.posix_acl_access",
                                       "system.posix_acl_default", "user.x"};
std::string acl_value(uint32_t choice) {
  struct Entry {
    uint16_t tag, perm;
    uint32_t id;
  };
  const auto list = [](std::initializer_list<Entry> entries) {
    std::string bytes("\x02\x00\x00\x00", 4);
    for (const Entry& entry : entries) bytes.append(reinterpret_cast<const char*>(&entry), 8);
    return bytes;
  };
  switch (choice % 4) {
    case 0: return list({{1, 6, ~0u}, {2, 6, 3001}, {4, 4, ~0u}, {16, 6, ~0u}, {32, 0, ~0u}});
    case 1: return list({{1, 7, ~0u}, {4, 5, ~0u}, {8, 7, 3100}, {16, 7, ~0u}, {32, 5, ~0u}});
    case 2: return list({{1, 6, ~0u}, {4, 4, ~0u}, {32, 4, ~0u}});
    default: return "garbage";
  }
}
std::string attribute_value(const char* name, uint32_t choice) {
  if (std::strncmp(name, "system.", 7) == 0) return acl_value(choice >> 8);
  if (std::strncmp(name, "security.", 9) == 0)
    return std::string("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  return std::string((choice >> 8) % 300, static_cast<char>(choice >> 16));
}
std::string setxattr_it(Side&, const Operation& op) {
  static constexpr int kFlags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
  const char* const name = pick(kAttributes, op.choice);
  const std::string value = attribute_value(name, op.choice);
  // A link has no attributes once the name that it was found by is gone.
  struct stat st;
  const bool of_link = op.choice & 0x1000000;
  if (of_link && ::lstat(path_of(op.path).c_str(), &st) == 0 && S_ISLNK(st.st_mode)) return "link";
  const auto set = of_link ? ::lsetxattr : ::setxattr;
  return outcome(set(path_of(op.path).c_str(), name, value.data(), value.size(),
                     pick(kFlags, op.choice >> 26)));
}
std::string getxattr_it(Side&, const Operation& op) {
  char buffer[1024];
  const auto get = op.choice & 0x1000000 ? ::lgetxattr : ::getxattr;
  const size_t size = op.choice & 0x4000000 ? sizeof buffer : 0;
  const ssize_t got = get(path_of(op.path).c_str(), pick(kAttributes, op.choice), buffer, size);
  return size == 0 ? outcome(got) : with_bytes(got, buffer);
}
std::string removexattr_it(Side&, const Operation& op) {
  const auto remove = op.choice & 0x1000000 ? ::lremovexattr : ::removexattr;
  return outcome(remove(path_of(op.path).c_str(), pick(kAttributes, op.choice)));
}
std::string listxattr_it(Side&, const Operation& op) {
  char buffer[4096];
  const ssize_t size = ::llistxattr(path_of(op.path).c_str(), buffer, sizeof buffer);
  if (size < 0) return outcome(-1);
  std::vector<std::string> found;
  for (ssize_t i = 0; i < size; i += static_cast<ssize_t>(found.back().size()) + 1)
    found.emplace_back(buffer + i);
  std::sort(found.begin(), found.end());
  std::string text = "attributes";
  for (const auto& name : found) text += " " + name;
  return text;
}
std::string umask_it(Side&, const Operation& op) {
  static constexpr mode_t kMasks[] = {022, 0, 077, 027};
  ::umask(pick(kMasks, op.choice));
  return "set";
}

}  // namespace

const std::vector<OperationKind>& operation_kinds() {
  static const std::vector<OperationKind> kinds{
      {"open", 30, kPath | kNewSlot, open_it},
      {"tmpfile", 2, kPath | kNewSlot, tmpfile_it},
      {"close", 8, kSlot, close_it},
      {"read", 10, kSlot, read_it},
      {"write", 20, kSlot, write_it},
      {"map_read", 4, kSlot, map_read},
      {"map_write", 6, kSlot, map_write},
      {"ftruncate", 6, kSlot, ftruncate_it},
      {"truncate", 6, kPath, truncate_it},
      {"fallocate", 6, kSlot, fallocate_it},
      {"seek", 5, kSlot, seek_it},
      {"sync", 2, kSlot, sync_it},
      {"copy_range", 5, kSlot | kOtherSlot, copy_range},
      {"fstat", 3, kSlot, stat_slot},
      {"mkdir", 14, kPath, mkdir_it},
      {"rmdir", 6, kPath, rmdir_it},
      {"unlink", 10, kPath, unlink_it},
      {"rename", 14, kPath | kOtherPath, rename_it},
      {"link", 8, kPath | kOtherPath, link_it},
      {"link_slot", 3, kPath | kSlot, link_slot},
      {"symlink", 5, kPath, symlink_it},
      {"readlink", 3, kPath, readlink_it},
      {"mknod", 3, kPath, mknod_it},
      {"list", 6, kPath, list_it},
      {"access", 4, kPath, access_it},
      {"stat", 6, kPath, stat_it},
      {"statx", 3, kPath, statx_it},
      {"chmod", 9, kPath, chmod_it},
      {"fchmod", 3, kSlot, fchmod_it},
      {"chown", 8, kPath, chown_it},
      {"fchown", 3, kSlot, fchown_it},
      {"utimes", 6, kPath | kSetsTimes, utimes_it},
      {"futimes", 2, kSlot | kSetsTimes, futimes_it},
      {"setxattr", 8, kPath, setxattr_it},
      {"getxattr", 5, kPath, getxattr_it},
      {"removexattr", 3, kPath, removexattr_it},
      {"listxattr", 3, kPath, listxattr_it},
      {"umask", 1, kNothing, umask_it},
  };
  return kinds;
}
