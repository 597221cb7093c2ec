#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "inode_table.h"
#include "passthrough.h"
#include "result_set.h"
#include "virtual_layer.h"

namespace insitu {

enum class VirtualKind : uint8_t { compute, query, control, results, last, result };

// A result of one version: the node of it never shows another.
struct BoundResult {
  ResultSetPtr set;
  const ResultSet::Result* result;  // in `set`
};

// Something that is not on disk and that the kernel knows.
class VirtualNode {
 public:
  VirtualNode(uint64_t number, VirtualKind node_kind, std::string directory_key, InodePtr directory,
              std::string node_name, bool is_kept = false)
      : id(number),
        kind(node_kind),
        key(std::move(directory_key)),
        parent(std::move(directory)),
        name(std::move(node_name)),
        kept(is_kept) {}

  const uint64_t id;
  const VirtualKind kind;
  const std::string key;   // of the ordinary directory that it belongs to
  const InodePtr parent;   // that directory
  const std::string name;  // of a control file or result
  const bool kept;         // of a result: below `.last`

  // Of a result; see result_seal.cc.
  std::atomic<bool> sealed = false;
  std::atomic<int64_t> attributes_given_at = 0;  // in seconds of a clock that only grows; 0: never
  std::atomic<uint32_t> refused_tid = 0;         // who was last told to look the path up again
  IoState io_state;

  // Empty while a result is provisional: looked up before it was known whether it will exist.
  std::shared_ptr<const BoundResult> bound() const {
    const std::lock_guard lock(mutex_);
    return bound_;
  }

 private:
  friend class VirtualNodes;
  mutable std::mutex mutex_;
  std::shared_ptr<const BoundResult> bound_;  // set once, under the table's lock as well
  uint64_t lookups_ = 0;                      // guarded by the table's lock
  std::string slot_;                          // guarded by the table's lock
};

using VirtualNodePtr = std::shared_ptr<VirtualNode>;

// The virtual nodes that the kernel knows. Numbers are never used again; one thing has one node while
// it is known. Lock order: the table's lock, then a node's.
class VirtualNodes {
 public:
  VirtualNodePtr find(uint64_t id) const;
  // Each counts one more lookup; `forget` once when the kernel did not get it.
  VirtualNodePtr remember(VirtualKind kind, const std::string& key, const InodePtr& parent,
                          const std::string& name = {});
  VirtualNodePtr remember(BoundResult result, const std::string& key, const InodePtr& parent,
                          bool kept);
  // A provisional node is bound for good; the first binding stays.
  std::shared_ptr<const BoundResult> bind(const VirtualNodePtr& node, BoundResult result);
  void forget(uint64_t id, uint64_t lookups);
  // Whether the kernel may hold the name of this result for valid without asking.
  bool is_sealed(const std::string& key, const std::string& name, uint64_t version) const;
  // The node of `.results` in this directory, 0 when the kernel does not know it.
  uint64_t results_directory(const std::string& key) const;
  // Nothing of this tree is found by what it stands for any more; the kernel knows the nodes still.
  void retire(const Tree& tree);
  size_t size() const;
  void clear();

 private:
  VirtualNodePtr remember_locked(const std::string& slot, VirtualKind kind, const std::string& key,
                                 const InodePtr& parent, const std::string& name,
                                 bool kept = false);

  mutable std::mutex mutex_;
  uint64_t next_ = kFirstVirtualNode;
  std::unordered_map<uint64_t, VirtualNodePtr> by_id_;
  std::unordered_map<std::string, uint64_t> by_slot_;  // what it stands for → node
};

}  // namespace insitu
