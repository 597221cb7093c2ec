#include "opcodes.h"

#include <array>

#include "ops.h"
#include "wire.h"

namespace insitu {

namespace {

constexpr auto kOpcodes = [] {
  std::array<Opcode, kOpcodeCount> table{};
  table[FUSE_LOOKUP] = {"lookup", 0, Naming::lookup, ops::lookup};
  table[FUSE_FORGET] = {"forget", sizeof(fuse_forget_in), Naming::none, ops::forget};
  table[FUSE_GETATTR] = {"getattr", sizeof(fuse_getattr_in), Naming::none, ops::getattr};
  table[FUSE_SETATTR] = {"setattr", sizeof(fuse_setattr_in), Naming::none, ops::setattr};
  table[FUSE_READLINK] = {"readlink", 0, Naming::none, ops::readlink};
  table[FUSE_SYMLINK] = {"symlink", 0, Naming::change, ops::symlink};
  table[FUSE_MKNOD] = {"mknod", sizeof(fuse_mknod_in), Naming::change, ops::mknod};
  table[FUSE_MKDIR] = {"mkdir", sizeof(fuse_mkdir_in), Naming::change, ops::mkdir};
  table[FUSE_UNLINK] = {"unlink", 0, Naming::change, ops::unlink};
  table[FUSE_RMDIR] = {"rmdir", 0, Naming::change, ops::rmdir};
  table[FUSE_RENAME] = {"rename", sizeof(fuse_rename_in), Naming::rename, ops::rename};
  table[FUSE_LINK] = {"link", sizeof(fuse_link_in), Naming::change, ops::link};
  table[FUSE_OPEN] = {"open", sizeof(fuse_open_in), Naming::none, ops::open};
  table[FUSE_READ] = {"read", sizeof(fuse_read_in), Naming::none, ops::read};
  table[FUSE_WRITE] = {"write", sizeof(fuse_write_in), Naming::none, ops::write};
  table[FUSE_STATFS] = {"statfs", 0, Naming::none, ops::statfs};
  table[FUSE_RELEASE] = {"release", sizeof(fuse_release_in), Naming::none, ops::release};
  table[FUSE_FSYNC] = {"fsync", sizeof(fuse_fsync_in), Naming::none, ops::fsync};
  table[FUSE_SETXATTR] = {"setxattr", FUSE_COMPAT_SETXATTR_IN_SIZE, Naming::none, ops::setxattr};
  table[FUSE_GETXATTR] = {"getxattr", sizeof(fuse_getxattr_in), Naming::none, ops::getxattr};
  table[FUSE_LISTXATTR] = {"listxattr", sizeof(fuse_getxattr_in), Naming::none, ops::listxattr};
  table[FUSE_REMOVEXATTR] = {"removexattr", 0, Naming::none, ops::removexattr};
  table[FUSE_FLUSH] = {"flush", sizeof(fuse_flush_in), Naming::none, ops::flush};
  table[FUSE_OPENDIR] = {"opendir", sizeof(fuse_open_in), Naming::none, ops::opendir};
  table[FUSE_READDIR] = {"readdir", sizeof(fuse_read_in), Naming::none, ops::readdir};
  table[FUSE_RELEASEDIR] = {"releasedir", sizeof(fuse_release_in), Naming::none, ops::releasedir};
  table[FUSE_FSYNCDIR] = {"fsyncdir", sizeof(fuse_fsync_in), Naming::none, ops::fsyncdir};
  table[FUSE_CREATE] = {"create", sizeof(fuse_create_in), Naming::change, ops::create};
  table[FUSE_GETLK] = {"getlk", sizeof(fuse_lk_in), Naming::none, ops::getlk};
  table[FUSE_SETLK] = {"setlk", sizeof(fuse_lk_in), Naming::none, ops::setlk};
  table[FUSE_SETLKW] = {"setlkw", sizeof(fuse_lk_in), Naming::none, ops::setlkw};
  table[FUSE_INTERRUPT] = {"interrupt", sizeof(fuse_interrupt_in), Naming::none, ops::interrupt};
  table[FUSE_DESTROY] = {"destroy", 0, Naming::none, ops::destroy};
  table[FUSE_IOCTL] = {"ioctl", sizeof(fuse_ioctl_in), Naming::none, ops::ioctl};
  table[FUSE_POLL] = {"poll", sizeof(fuse_poll_in), Naming::none, ops::poll};
  table[FUSE_BATCH_FORGET] = {"batch_forget", sizeof(fuse_batch_forget_in), Naming::none,
                              ops::batch_forget};
  table[FUSE_FALLOCATE] = {"fallocate", sizeof(fuse_fallocate_in), Naming::none, ops::fallocate};
  table[FUSE_READDIRPLUS] = {"readdirplus", sizeof(fuse_read_in), Naming::none, ops::readdirplus};
  table[FUSE_RENAME2] = {"rename2", sizeof(fuse_rename2_in), Naming::rename, ops::rename2};
  table[FUSE_LSEEK] = {"lseek", sizeof(fuse_lseek_in), Naming::none, ops::lseek};
  table[FUSE_COPY_FILE_RANGE] = {"copy_file_range", sizeof(fuse_copy_file_range_in), Naming::none,
                                 ops::copy_file_range};
  table[FUSE_SYNCFS] = {"syncfs", sizeof(fuse_syncfs_in), Naming::none, ops::syncfs};
  table[FUSE_TMPFILE] = {"tmpfile", sizeof(fuse_create_in), Naming::none, ops::tmpfile};
  table[wire::kStatx] = {"statx", sizeof(wire::StatxIn), Naming::none, ops::statx};
  table[wire::kCopyFileRange64] = {"copy_file_range_64", sizeof(fuse_copy_file_range_in),
                                   Naming::none, ops::copy_file_range};
  return table;
}();

}  // namespace

const Opcode* find_opcode(uint32_t opcode) {
  if (opcode >= kOpcodes.size() || !kOpcodes[opcode].handler) return nullptr;
  return &kOpcodes[opcode];
}

}  // namespace insitu
