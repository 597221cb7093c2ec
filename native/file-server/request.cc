#include "request.h"

#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "caller_ids.h"
#include "session.h"
#include "wire.h"

namespace insitu {

struct Request::State {
  Session& session;
  int device;
  fuse_in_header header;
  std::span<const std::byte> body;
  std::span<const std::byte> extensions;
  std::vector<std::byte> copy;  // holds body and extensions once parked
  bool replied = false;
  int error = 0;
  bool parked = false;
  std::optional<CallerIds> mapped;  // once it was read
};

namespace {

// As kernels call who is nobody they know.
constexpr uint32_t kNobody = 65'534;

}  // namespace

Request::Request(Session& session, int device, std::span<const std::byte> frame)
    : state_(new State{session, device, {}, {}, {}, {}}) {
  std::memcpy(&state_->header, frame.data(), sizeof(fuse_in_header));
  const auto rest = frame.subspan(sizeof(fuse_in_header));
  const size_t extension_bytes = size_t{state_->header.total_extlen} * 8;
  state_->body = rest.first(rest.size() - extension_bytes);
  state_->extensions = rest.last(extension_bytes);
}

Request::Request(Request&&) noexcept = default;

Request::~Request() {
  if (state_ && !state_->replied) reply_error(EIO);
}

Session& Request::session() const { return state_->session; }
uint32_t Request::opcode() const { return state_->header.opcode; }
uint64_t Request::unique() const { return state_->header.unique; }
uint64_t Request::node() const { return state_->header.nodeid; }
CallerIds Request::caller() const {
  const CallerIds told{state_->header.uid, state_->header.gid, state_->header.pid};
  const auto& ids = state_->session.options().ids;
  if (!ids || told.uid != wire::kNoId) return told;
  if (!state_->mapped) {
    const auto [uid, gid] = filesystem_ids(told.pid).value_or(FilesystemIds{wire::kNoId, wire::kNoId});
    state_->mapped = {ids->users.to_volume(uid).value_or(kNobody),
                      ids->groups.to_volume(gid).value_or(kNobody), told.pid};
  }
  return *state_->mapped;
}

std::vector<uint32_t> Request::caller_groups() const {
  std::vector<uint32_t> groups = supplementary_groups(state_->header.pid);
  const auto& ids = state_->session.options().ids;
  if (!ids) return groups;
  std::vector<uint32_t> mapped;
  for (const uint32_t group : groups)
    if (const auto id = ids->groups.to_volume(group)) mapped.push_back(*id);
  return mapped;
}

bool Request::by_root() const { return state_->header.uid == 0; }

std::span<const std::byte> Request::body() const { return state_->body; }

std::optional<uint32_t> Request::supplementary_group() const {
  auto rest = state_->extensions;
  while (rest.size() >= sizeof(fuse_ext_header)) {
    fuse_ext_header header;
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.size < sizeof header || header.size > rest.size()) break;
    const auto payload = rest.first(header.size).subspan(sizeof header);
    if (header.type == wire::kExtGroups && payload.size() >= 2 * sizeof(uint32_t)) {
      uint32_t words[2];
      std::memcpy(words, payload.data(), sizeof words);
      if (words[0] >= 1) return words[1];
    }
    const size_t step = FUSE_REC_ALIGN(size_t{header.size});
    if (step >= rest.size()) break;
    rest = rest.subspan(step);
  }
  return std::nullopt;
}

std::string_view Request::name(size_t offset) const {
  const auto bytes = body();
  if (offset >= bytes.size()) return {};
  const char* start = reinterpret_cast<const char*>(bytes.data()) + offset;
  const size_t room = bytes.size() - offset;
  const size_t length = strnlen(start, room);
  return length == room ? std::string_view{} : std::string_view{start, length};
}

int Request::reply_error(int error) {
  if (error == 0) return reply({});
  // The limit that was reached is ours, not the caller's.
  if (error == EMFILE) error = ENFILE;
  if (state_->replied) return 0;
  state_->replied = true;
  state_->error = error;
  if (state_->parked) state_->session.waiting().remove(unique());
  const fuse_out_header header{sizeof header, -error, unique()};
  return ::write(state_->device, &header, sizeof header) < 0 ? errno : 0;
}

int Request::reply(std::span<const std::byte> first, std::span<const std::byte> second) {
  if (state_->replied) return 0;
  state_->replied = true;
  if (state_->parked) state_->session.waiting().remove(unique());
  fuse_out_header header{0, 0, unique()};
  header.len = static_cast<uint32_t>(sizeof header + first.size() + second.size());
  const iovec parts[] = {
      {&header, sizeof header},
      {const_cast<std::byte*>(first.data()), first.size()},
      {const_cast<std::byte*>(second.data()), second.size()},
  };
  if (::writev(state_->device, parts, second.empty() ? (first.empty() ? 1 : 2) : 3) >= 0) return 0;
  const int error = errno;
  // The kernel refuses a malformed reply and goes on waiting: answer what it will take.
  if (error != ENOENT && error != ENODEV) {
    const fuse_out_header refusal{sizeof refusal, -EIO, unique()};
    (void)!::write(state_->device, &refusal, sizeof refusal);
  }
  return error;
}

void Request::no_reply() { state_->replied = true; }
bool Request::replied() const { return !state_ || state_->replied; }
int Request::error() const { return state_ ? state_->error : 0; }

std::unique_ptr<Request> Request::park() && {
  auto& state = *state_;
  if (!state.parked) {
    state.copy.reserve(state.body.size() + state.extensions.size());
    state.copy.insert(state.copy.end(), state.body.begin(), state.body.end());
    state.copy.insert(state.copy.end(), state.extensions.begin(), state.extensions.end());
    const size_t body_size = state.body.size();
    state.body = std::span{state.copy}.first(body_size);
    state.extensions = std::span{state.copy}.subspan(body_size);
    state.parked = true;
    state.session.waiting().add(unique(), state.header.pid);
  }
  return std::make_unique<Request>(std::move(*this));
}

}  // namespace insitu
