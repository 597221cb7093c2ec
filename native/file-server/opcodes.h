#pragma once

#include <cstddef>
#include <cstdint>

namespace insitu {

class Session;
class Request;

inline constexpr uint32_t kOpcodeCount = 54;

// What an operation does to a name in the directory that is its node: decides how the dispatcher
// asks the virtual layer about reserved names.
enum class Naming : uint8_t { none, lookup, change, rename };

struct Opcode {
  const char* name = nullptr;
  // Of the body, without names; shorter bodies are refused with EINVAL.
  uint32_t argument_bytes = 0;
  Naming naming = Naming::none;
  void (*handler)(Session&, Request&) = nullptr;
};

// Null for opcodes that we do not know; these, and only these, get ENOSYS, which makes the kernel
// stop asking for the life of the mount.
const Opcode* find_opcode(uint32_t opcode);

}  // namespace insitu
