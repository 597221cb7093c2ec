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
  table[FUSE_BATCH_FORGET] = {"batch_forget", sizeof(fuse_batch_forget_in), Naming::none,
                              ops::batch_forget};
  table[FUSE_GETATTR] = {"getattr", sizeof(fuse_getattr_in), Naming::none, ops::getattr};
  table[FUSE_STATFS] = {"statfs", 0, Naming::none, ops::statfs};
  table[FUSE_OPEN] = {"open", sizeof(fuse_open_in), Naming::none, ops::open};
  table[FUSE_READ] = {"read", sizeof(fuse_read_in), Naming::none, ops::read};
  table[FUSE_FLUSH] = {"flush", sizeof(fuse_flush_in), Naming::none, ops::flush};
  table[FUSE_RELEASE] = {"release", sizeof(fuse_release_in), Naming::none, ops::release};
  table[FUSE_OPENDIR] = {"opendir", sizeof(fuse_open_in), Naming::none, ops::opendir};
  table[FUSE_READDIR] = {"readdir", sizeof(fuse_read_in), Naming::none, ops::readdir};
  table[FUSE_RELEASEDIR] = {"releasedir", sizeof(fuse_release_in), Naming::none, ops::releasedir};
  table[FUSE_INTERRUPT] = {"interrupt", sizeof(fuse_interrupt_in), Naming::none, ops::interrupt};
  table[FUSE_DESTROY] = {"destroy", 0, Naming::none, ops::destroy};
  return table;
}();

}  // namespace

const Opcode* find_opcode(uint32_t opcode) {
  if (opcode >= kOpcodes.size() || !kOpcodes[opcode].handler) return nullptr;
  return &kOpcodes[opcode];
}

}  // namespace insitu
