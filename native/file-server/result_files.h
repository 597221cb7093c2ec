#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "../common/unique_fd.h"
#include "passthrough.h"
#include "virtual_nodes.h"

namespace insitu {

// One count of an IoMode in a result node's IoState.
class IoUse {
 public:
  IoUse() = default;
  IoUse(Passthrough& passthrough, VirtualNodePtr node, IoMode mode)
      : passthrough_(&passthrough), node_(std::move(node)), mode_(mode) {}
  ~IoUse() {
    if (node_) passthrough_->released(node_->io_state, mode_);
  }
  IoUse(IoUse&& other) noexcept { *this = std::move(other); }
  IoUse& operator=(IoUse&& other) noexcept {
    std::swap(passthrough_, other.passthrough_);
    std::swap(node_, other.node_);
    std::swap(mode_, other.mode_);
    return *this;
  }

 private:
  Passthrough* passthrough_ = nullptr;
  VirtualNodePtr node_;
  IoMode mode_ = IoMode::cached;
};

// The result files that were opened last, held open together with their place at the kernel: a result
// that is read again and again is opened without a system call of ours.
class ResultFiles {
 public:
  struct Opened {
    int error = 0;
    std::shared_ptr<const UniqueFd> fd;
    IoUse io;
    IoMode mode = IoMode::cached;
    int32_t backing_id = 0;
  };

  // Of a bound node.
  Opened open(Passthrough& passthrough, const VirtualNodePtr& node);
  // Those of this directory's other versions are held no longer; a removed file's bytes come free.
  void forget(const std::string& key, uint64_t but_version);
  void clear();

 private:
  struct Held {
    VirtualNodePtr node;
    std::shared_ptr<const UniqueFd> fd;
    IoUse io;

    Held(VirtualNodePtr of, std::shared_ptr<const UniqueFd> file, IoUse use);
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
  };
  using Place = std::list<Held>::iterator;

  std::shared_ptr<const UniqueFd> find(const VirtualNode& node);

  std::mutex mutex_;
  std::list<Held> held_;  // the one that was opened last first
  std::unordered_map<uint64_t, Place> by_node_;
};

}  // namespace insitu
