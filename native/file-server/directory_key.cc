#include "file-server/directory_key.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace insitu {
namespace {

template <class T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<std::vector<std::byte>> parse_hex(std::string_view text) {
  if (text.empty() || text.size() % 2 != 0 || text.size() > 2 * MAX_HANDLE_SZ) return std::nullopt;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (size_t at = 0; at < text.size(); at += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(&text[at], &text[at] + 2, value, 16);
    if (error != std::errc{} || end != &text[at] + 2) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

// A file_handle with room for the largest handle there is.
struct HandleBuffer {
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + MAX_HANDLE_SZ> space{};
  file_handle* get() { return reinterpret_cast<file_handle*>(space.data()); }
};

}  // namespace

std::string DirectoryKey::text() const {
  if (!handle) {
    return "i:" + std::to_string(numbers.dev) + ":" + std::to_string(numbers.ino) + ":" +
           std::to_string(numbers.birth_ns);
  }
  constexpr char digits[] = "0123456789abcdef";
  std::string text = "h:" + std::to_string(handle->type) + ":";
  for (const std::byte byte : handle->bytes) {
    text += digits[std::to_integer<unsigned>(byte) >> 4];
    text += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::optional<DirectoryKey> DirectoryKey::parse(std::string_view text) {
  if (text.size() < 2 || text[1] != ':') return std::nullopt;
  const char form = text[0];
  text.remove_prefix(2);
  DirectoryKey key;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view first = text.substr(0, colon), rest = text.substr(colon + 1);
  if (form == 'h') {
    Handle handle;
    auto bytes = parse_hex(rest);
    if (!bytes || !parse_number(first, handle.type)) return std::nullopt;
    handle.bytes = *std::move(bytes);
    key.handle = std::move(handle);
    return key;
  }
  const size_t second = rest.find(':');
  if (form != 'i' || second == std::string_view::npos ||
      !parse_number(first, key.numbers.dev) ||
      !parse_number(rest.substr(0, second), key.numbers.ino) ||
      !parse_number(rest.substr(second + 1), key.numbers.birth_ns))
    return std::nullopt;
  return key;
}

int read_handle(int fd, DirectoryKey::Handle& out) {
  HandleBuffer buffer;
  file_handle* handle = buffer.get();
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  if (name_to_handle_at(fd, "", handle, &mount_id, AT_EMPTY_PATH) != 0) return errno;
  out.type = handle->handle_type;
  const auto* bytes = reinterpret_cast<const std::byte*>(handle->f_handle);
  out.bytes.assign(bytes, bytes + handle->handle_bytes);
  return 0;
}

int open_handle(int mount_fd, const DirectoryKey::Handle& handle, UniqueFd& out) {
  HandleBuffer buffer;
  file_handle* raw = buffer.get();
  if (handle.bytes.size() > MAX_HANDLE_SZ) return ESTALE;
  raw->handle_bytes = static_cast<unsigned>(handle.bytes.size());
  raw->handle_type = handle.type;
  std::memcpy(raw->f_handle, handle.bytes.data(), handle.bytes.size());
  const int fd = open_by_handle_at(mount_fd, raw, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? ESTALE : errno;
  out.reset(fd);
  return 0;
}

}  // namespace insitu
