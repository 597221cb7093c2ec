#include "passthrough.h"

#include <sys/ioctl.h>

#include "wire.h"

namespace insitu {

IoMode Passthrough::choose(IoState& state, int path, bool wanted, int32_t& backing_id) {
  const std::lock_guard lock(state.mutex);
  if (wanted && enabled() && state.cached == 0) {
    if (state.passthrough == 0) {
      const wire::BackingMap map{path, 0, 0};
      const int id = ::ioctl(device_, wire::kBackingOpen, &map);
      state.backing_id = id > 0 ? id : 0;
      if (id > 0) ++ids_;
    }
    if (state.backing_id > 0) {
      ++state.passthrough;
      backing_id = state.backing_id;
      return IoMode::passthrough;
    }
  }
  if (state.passthrough > 0) {
    ++state.passthrough;
    backing_id = state.backing_id;
    return IoMode::direct;
  }
  ++state.cached;
  return IoMode::cached;
}

void Passthrough::released(IoState& state, IoMode mode) {
  const std::lock_guard lock(state.mutex);
  if (mode == IoMode::cached) --state.cached;
  if (mode == IoMode::cached || --state.passthrough > 0) return;
  const uint32_t id = static_cast<uint32_t>(state.backing_id);
  state.backing_id = 0;
  --ids_;
  if (enabled()) ::ioctl(device_, wire::kBackingClose, &id);
}

}  // namespace insitu
