// Random operations as plain data: made from a seed, performed on two directories side by side, and
// replayed in part when a difference is to be made small.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

struct Operation {
  uint16_t kind;     // index into operation_kinds()
  uint8_t actor;     // the process that performs it
  uint8_t slot;      // one of its open files
  uint8_t other_slot;
  uint16_t path;     // see path_of
  uint16_t other_path;
  uint32_t choice;   // flags, modes, names: whatever the kind makes of it
  int64_t offset;
  int64_t length;
};

constexpr size_t kSlots = 4;

struct Side;

// What an operation touches, so is looked at before and after.
enum Uses : unsigned {
  kNothing = 0,
  kPath = 1,
  kOtherPath = 2,
  kSlot = 4,
  kOtherSlot = 8,
  kNewSlot = 16,  // what was open there before is another file
  kSetsTimes = 32,
};

struct OperationKind {
  const char* name;
  unsigned weight;
  unsigned uses;
  // Performs it on one side and says what a program would see.
  std::string (*perform)(Side&, const Operation&);
};

const std::vector<OperationKind>& operation_kinds();

// Few names in few directories, so that operations meet.
std::string path_of(uint16_t number);
std::string describe(const Operation& operation);

// `actors`: among how many processes they are dealt out, in turns of a few each.
std::vector<Operation> random_operations(uint64_t seed, size_t count, unsigned actors);
