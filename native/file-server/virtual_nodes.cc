#include "virtual_nodes.h"

#include <algorithm>

namespace insitu {
namespace {

// Keys have no NUL, and neither have names.
std::string slot_of(VirtualKind kind, const std::string& key, const std::string& name,
                    uint64_t version = 0) {
  std::string slot = key;
  slot += '\0';
  slot += std::to_string(static_cast<int>(kind));
  slot += '\0';
  slot += std::to_string(version);
  slot += '\0';
  return slot += name;
}

}  // namespace

VirtualNodePtr VirtualNodes::find(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

VirtualNodePtr VirtualNodes::remember(VirtualKind kind, const std::string& key,
                                      const InodePtr& parent, const std::string& name) {
  const std::lock_guard lock(mutex_);
  return remember_locked(slot_of(kind, key, name), kind, key, parent, name);
}

VirtualNodePtr VirtualNodes::remember(BoundResult result, const std::string& key,
                                      const InodePtr& parent, bool kept) {
  const std::string& name = result.result->name;
  // The same version has a node for each of its two names: they are asked for in different ways.
  const std::string slot =
      slot_of(kept ? VirtualKind::last : VirtualKind::result, key, name, result.set->version);
  const std::lock_guard lock(mutex_);
  const VirtualNodePtr node = remember_locked(slot, VirtualKind::result, key, parent, name, kept);
  const std::lock_guard node_lock(node->mutex_);
  if (!node->bound_) node->bound_ = std::make_shared<const BoundResult>(std::move(result));
  return node;
}

VirtualNodePtr VirtualNodes::remember_locked(const std::string& slot, VirtualKind kind,
                                             const std::string& key, const InodePtr& parent,
                                             const std::string& name, bool kept) {
  uint64_t& id = by_slot_[slot];
  // One that was bound while its tree went stands for nothing, though the same keys may be back.
  if (id == 0 || by_id_.at(id)->parent->tree().id != parent->tree().id) {
    id = next_++;
    auto node = std::make_shared<VirtualNode>(id, kind, key, parent, name, kept);
    node->slot_ = slot;
    by_id_.emplace(id, std::move(node));
  }
  const VirtualNodePtr& node = by_id_.at(id);
  ++node->lookups_;
  return node;
}

std::shared_ptr<const BoundResult> VirtualNodes::bind(const VirtualNodePtr& node,
                                                      BoundResult result) {
  const std::lock_guard lock(mutex_);
  const std::lock_guard node_lock(node->mutex_);
  if (node->bound_) return node->bound_;
  std::string slot =
      slot_of(VirtualKind::result, node->key, node->name, result.set->version);
  node->bound_ = std::make_shared<const BoundResult>(std::move(result));
  // Later lookups of this version find this node, unless another one stands for it already; those of
  // the name alone get a provisional node of their own.
  const auto old = by_slot_.find(node->slot_);
  if (old != by_slot_.end() && old->second == node->id) by_slot_.erase(old);
  node->slot_.clear();
  if (by_id_.contains(node->id) && by_slot_.try_emplace(slot, node->id).second)
    node->slot_ = std::move(slot);
  return node->bound_;
}

void VirtualNodes::forget(uint64_t id, uint64_t lookups) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  VirtualNode& node = *found->second;
  node.lookups_ -= std::min(node.lookups_, lookups);
  if (node.lookups_ > 0) return;
  const auto slot = by_slot_.find(node.slot_);
  if (slot != by_slot_.end() && slot->second == id) by_slot_.erase(slot);
  by_id_.erase(found);
}

bool VirtualNodes::is_sealed(const std::string& key, const std::string& name,
                             uint64_t version) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_slot_.find(slot_of(VirtualKind::result, key, name, version));
  return found != by_slot_.end() && by_id_.at(found->second)->sealed;
}

uint64_t VirtualNodes::results_directory(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_slot_.find(slot_of(VirtualKind::results, key, {}));
  return found == by_slot_.end() ? 0 : found->second;
}

void VirtualNodes::retire(const Tree& tree) {
  const std::lock_guard lock(mutex_);
  std::erase_if(by_slot_,
                [&](const auto& slot) { return &by_id_.at(slot.second)->parent->tree() == &tree; });
}

void VirtualNodes::clear() {
  const std::lock_guard lock(mutex_);
  by_id_.clear();
  by_slot_.clear();
}

size_t VirtualNodes::size() const {
  const std::lock_guard lock(mutex_);
  return by_id_.size();
}

}  // namespace insitu
