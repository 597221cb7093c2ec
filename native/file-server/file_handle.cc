#include "file_handle.h"

#include <fcntl.h>

#include <cstring>

namespace insitu {

namespace {

struct HandleBuffer {
  alignas(file_handle) std::byte bytes[sizeof(file_handle) + MAX_HANDLE_SZ]{};
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes); }
};

}  // namespace

FileIdentity FileIdentity::of(int path) {
  HandleBuffer buffer;
  buffer.get()->handle_bytes = MAX_HANDLE_SZ;
  FileIdentity out;
  if (::name_to_handle_at(path, "", buffer.get(), &out.mount_, AT_EMPTY_PATH) < 0) return out;
  out.bytes_.resize(sizeof(int) + buffer.get()->handle_bytes);
  std::memcpy(out.bytes_.data(), &buffer.get()->handle_type, sizeof(int));
  std::memcpy(out.bytes_.data() + sizeof(int), buffer.get()->f_handle, buffer.get()->handle_bytes);
  return out;
}

UniqueFd FileIdentity::open(int root, int flags) const {
  if (bytes_.size() < sizeof(int)) return UniqueFd{};
  HandleBuffer buffer;
  buffer.get()->handle_bytes = static_cast<unsigned>(bytes_.size() - sizeof(int));
  std::memcpy(&buffer.get()->handle_type, bytes_.data(), sizeof(int));
  std::memcpy(buffer.get()->f_handle, bytes_.data() + sizeof(int), bytes_.size() - sizeof(int));
  return UniqueFd{::open_by_handle_at(root, buffer.get(), flags | O_CLOEXEC)};
}

}  // namespace insitu
