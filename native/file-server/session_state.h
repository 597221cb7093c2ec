#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../common/unique_fd.h"
#include "graft_table.h"
#include "handles.h"
#include "negotiated.h"

namespace insitu {

// What a successor must know to go on serving a connection: everything that the kernel will name to
// it, and how to find it again. Descriptors go beside the encoded bytes, in order; records name
// them by index, -1 for none.

struct FilesystemRecord {
  uint32_t tree = 0;
  uint64_t dev = 0;
  uint16_t mark = 0;
  int32_t directory = -1;  // a descriptor of it; none where it is reached by paths
};

struct NodeRecord {
  enum : uint8_t { wrote = 1, read_wrote = 2, appended = 4 };

  uint64_t node = 0;
  uint64_t lookups = 0;
  uint32_t tree = 0;
  uint64_t dev = 0;
  uint64_t ino = 0;
  uint32_t type = 0;     // S_IFMT bits
  uint8_t activity = 0;  // what it was ever opened for
  int32_t backing_id = 0;
  std::vector<std::byte> handle;  // as FileIdentity has it; empty: reached by path or descriptor
  uint64_t parent = 0;            // a node, 0 for none
  std::string name;
  int64_t birth_ns = 0;
  int32_t descriptor = -1;  // of one that could not be found otherwise
};

struct HandleRecord {
  uint64_t number = 0;
  uint64_t node = 0;
  bool is_directory = false;
  int32_t flags = 0;
  IoMode mode = IoMode::cached;
  uint32_t uid = 0;
  int32_t descriptor = -1;  // none: opened when it is needed
};

struct GraftRecord {
  uint32_t id = 0;
  bool made_stub = false;
  GraftRequest request;
};

struct SessionState {
  NegotiatedProtocol negotiated;
  uint64_t next_node = 0;
  uint64_t last_file = 0;
  uint64_t last_directory = 0;
  uint32_t last_graft = 0;
  std::vector<GraftRecord> grafts;  // outer ones first
  std::vector<FilesystemRecord> filesystems;
  std::vector<NodeRecord> nodes;
  std::vector<HandleRecord> handles;
  std::vector<UniqueFd> descriptors;

  // Without the descriptors.
  std::vector<std::byte> encode() const;
  // Empty when the bytes are none of this version's.
  static std::optional<SessionState> decode(std::span<const std::byte> bytes);
};

// Of a session that has no request under way.
SessionState dump_state(Session& session);
// Into a session that has not started. Throws std::system_error.
void restore_state(Session& session, const SessionState& state);

}  // namespace insitu
