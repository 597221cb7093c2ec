#include "operation.h"

#include <array>

std::string path_of(uint16_t number) {
  static constexpr std::array<const char*, 6> kNames{"a", "b", "c", "d", "e", "f"};
  static const std::string kLongest(255, 'n');
  static constexpr std::array<int, 8> kDepths{1, 1, 1, 2, 2, 2, 3, 3};
  const int depth = kDepths[number % 8];
  unsigned rest = number / 8;
  std::string path;
  for (int i = 0; i < depth; i += 1) {
    if (i > 0) path += '/';
    path += kNames[rest % kNames.size()];
    rest /= kNames.size();
  }
  // A few that are spelt otherwise.
  switch (number % 211) {
    case 1: return path + "/";
    case 2: return path + "/.";
    case 3: return path + "/..";
    case 4: return path + "/../b";
    case 5: return "./" + path;
    case 6: return path + "//c";
    case 7: return kLongest;
    case 8: return kLongest + "x";
    case 9: return "\xff\x01\n \\";
    case 10: return path + "/" + kLongest;
    case 11: return ".";
    default: return path;
  }
}

std::string describe(const Operation& operation) {
  const OperationKind& kind = operation_kinds()[operation.kind];
  std::string text = "actor " + std::to_string(operation.actor) + ": " + kind.name;
  const auto quoted = [](const std::string& path) {
    return path.size() > 60 ? path.substr(0, 20) + "...(" + std::to_string(path.size()) + ")" : path;
  };
  if (kind.uses & (kSlot | kNewSlot)) text += " slot " + std::to_string(operation.slot);
  if (kind.uses & kOtherSlot) text += " slot " + std::to_string(operation.other_slot);
  if (kind.uses & kPath) text += " " + quoted(path_of(operation.path));
  if (kind.uses & kOtherPath) text += " " + quoted(path_of(operation.other_path));
  return text + " choice " + std::to_string(operation.choice) + " offset " +
         std::to_string(operation.offset) + " length " + std::to_string(operation.length);
}

std::vector<Operation> random_operations(uint64_t seed, size_t count, unsigned actors) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t bound) { return random() % bound; };
  std::vector<uint16_t> kinds;
  for (size_t i = 0; i < operation_kinds().size(); i += 1)
    kinds.insert(kinds.end(), operation_kinds()[i].weight, static_cast<uint16_t>(i));
  std::vector<Operation> all;
  all.reserve(count);
  uint8_t actor = 0;
  size_t turn = 0;
  for (size_t i = 0; i < count; i += 1) {
    if (turn == 0) {
      actor = static_cast<uint8_t>(below(actors));
      turn = 1 + below(12);
    }
    turn -= 1;
    Operation operation{};
    operation.kind = kinds[below(kinds.size())];
    operation.actor = actor;
    operation.slot = static_cast<uint8_t>(below(kSlots));
    operation.other_slot = static_cast<uint8_t>(below(kSlots));
    operation.path = static_cast<uint16_t>(random());
    operation.other_path = static_cast<uint16_t>(random());
    operation.choice = static_cast<uint32_t>(random());
    operation.offset = static_cast<int64_t>(below(3) ? below(20'000) : below(200'000));
    operation.length = static_cast<int64_t>(below(3) ? below(5'000) : below(100'000));
    all.push_back(operation);
  }
  return all;
}
