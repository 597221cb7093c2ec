#pragma once

#include <cerrno>
#include <cstdint>
#include <span>

namespace hostile {

// What an attack may use: the descriptor of an input, and of a spool file, as a worker has them; -1
// where the test gave none.
struct Loot {
  int input = -1;
  int spool = -1;
};

// Tries one thing. Below zero: the negated errno it was refused with; else it was done, and that is
// the leak. Many never return: the filter ends the process.
using Attempt = long (*)(const Loot&);

struct Attack {
  const char* name;
  Attempt attempt;
};

// A raw system call, past whatever the C library would do instead.
long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);

std::span<const Attack> process_attacks();
std::span<const Attack> file_attacks();
std::span<const Attack> kernel_attacks();
std::span<const Attack> memory_attacks();

}  // namespace hostile
