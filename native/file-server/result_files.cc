#include "result_files.h"

#include <fcntl.h>

#include <cerrno>

#include "inputs.h"

namespace insitu {
namespace {

// Each costs a descriptor and pins a file.
constexpr size_t kMaxHeld = 128;

}  // namespace

ResultFiles::Held::Held(VirtualNodePtr of, std::shared_ptr<const UniqueFd> file, IoUse use)
    : node(std::move(of)), fd(std::move(file)), io(std::move(use)) {
  if (const auto& inputs = node->bound()->set->inputs) inputs->hold();
}

ResultFiles::Held::~Held() {
  if (const auto& inputs = node->bound()->set->inputs) inputs->release();
}

std::shared_ptr<const UniqueFd> ResultFiles::find(const VirtualNode& node) {
  const std::lock_guard lock(mutex_);
  const auto found = by_node_.find(node.id);
  if (found == by_node_.end()) return nullptr;
  held_.splice(held_.begin(), held_, found->second);
  return found->second->fd;
}

ResultFiles::Opened ResultFiles::open(Passthrough& passthrough, const VirtualNodePtr& node) {
  Opened out;
  const auto use = [&](int32_t& backing_id) {
    out.mode = passthrough.choose(node->io_state, out.fd->get(), true, backing_id);
    return IoUse(passthrough, node, out.mode);
  };
  out.fd = find(*node);
  if (out.fd) {
    out.io = use(out.backing_id);
    return out;
  }
  const auto bound = node->bound();
  const std::string path = bound->set->folder + "/" + bound->result->name;
  auto fd = std::make_shared<const UniqueFd>(
      ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!*fd) {
    out.error = errno;
    return out;
  }
  out.fd = std::move(fd);
  out.io = use(out.backing_id);
  int32_t same_id = 0;
  std::list<Held> fresh;    // made and dropped outside the lock
  std::list<Held> dropped;
  fresh.emplace_back(node, out.fd, use(same_id));
  const std::lock_guard lock(mutex_);
  if (!by_node_.contains(node->id)) {
    held_.splice(held_.begin(), fresh);
    by_node_.emplace(node->id, held_.begin());
  }
  if (held_.size() > kMaxHeld) {
    by_node_.erase(held_.back().node->id);
    dropped.splice(dropped.begin(), held_, std::prev(held_.end()));
  }
  return out;
}

void ResultFiles::forget(const std::string& key, uint64_t but_version) {
  std::list<Held> dropped;
  const std::lock_guard lock(mutex_);
  for (auto place = held_.begin(); place != held_.end();) {
    const auto next = std::next(place);
    const auto bound = place->node->bound();
    if (place->node->key == key && bound->set->version != but_version) {
      by_node_.erase(place->node->id);
      dropped.splice(dropped.begin(), held_, place);
    }
    place = next;
  }
}

void ResultFiles::clear() {
  std::list<Held> dropped;
  const std::lock_guard lock(mutex_);
  by_node_.clear();
  dropped.swap(held_);
}

}  // namespace insitu
