#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "latencies.h"
#include "quota.h"
#include "write_gate.h"

namespace insitu {

class Volume;

// How long the kernel may answer from its caches, in ns.
struct CacheTimes {
  uint64_t entry_ns;
  uint64_t attributes_ns;
  uint64_t negative_ns;
};

inline constexpr uint64_t kSecond = 1'000'000'000;
// Nothing changes an exclusive volume behind us, so the kernel may keep what it knows.
inline constexpr CacheTimes kExclusiveTimes{86'400 * kSecond, 86'400 * kSecond, 86'400 * kSecond};
// Shared: others' changes show within this time. Absent names are never cached, since what waits
// for a file to appear (a lock, a build) polls for it.
inline constexpr CacheTimes kSharedTimes{kSecond, kSecond, 0};

// One backing tree that the mount shows: the volume itself, or a graft. What it may not do holds
// for every inode reached through it, so one backing file that two trees reach is two inodes.
struct Tree {
  enum class State : uint8_t {
    live,
    revoking,  // nothing but the writing back of mapped pages
    revoked,   // ESTALE for everything
  };

  uint32_t id = 0;  // 0: the volume; never used again
  bool read_only = false;
  bool revocable = false;
  bool exclusive = false;        // nobody else changes it
  bool may_pass = true;          // the kernel may do I/O on the backing files itself
  bool closes_silently = false;  // close(2) reports no errors there
  CacheTimes times{};
  std::unique_ptr<Quota> quota;  // null: none
  // Of a graft that may have programs: its directories by key, and what their keys begin with (see
  // DirectoryKey in types.ts). The volume's own are the virtual layer's.
  std::shared_ptr<Volume> programs;  // null: none may be attached
  std::string key_prefix;

  std::atomic<State> state = State::live;
  std::atomic<uint32_t> under_way = 0;  // requests that were admitted and are not answered
  std::atomic<uint64_t> nodes = 0;
  std::atomic<uint64_t> open = 0;  // files and directories
  Latencies latencies;             // of what was admitted
  WriteGate writes;

  bool is_volume() const { return id == 0; }
  bool gone() const { return state.load() == State::revoked; }
};

using TreePtr = std::shared_ptr<Tree>;

// f_type of statfs(2).
inline constexpr uint64_t kTmpfs = 0x01021994;
inline constexpr uint64_t kOverlayfs = 0x794C7630;

// Fills in what follows from the filesystem of the tree's root (O_PATH), and returns its type.
uint64_t describe(Tree& tree, int root);

}  // namespace insitu
