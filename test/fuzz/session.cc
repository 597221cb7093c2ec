#include "session.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "answers.h"
#include "file-server/inputs.h"
#include "file-server/mount_writers.h"
#include "file-server/opcodes.h"
#include "file-server/session.h"
#include "file-server/virtual_files.h"
#include "file-server/wire.h"

namespace {

using namespace insitu;
namespace fs = std::filesystem;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

// Options of a frame.
constexpr uint8_t kHandle = 1;     // the body begins with a handle that was given out
constexpr uint8_t kCut = 2;        // ends one byte early, so its length is a lie
constexpr uint8_t kExtension = 4;  // the last 16 bytes are an extension
constexpr uint8_t kNodeInBody = 8; // the body begins with a node that was given out

class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const uint8_t first = rest_[0];
    rest_ = rest_.subspan(1);
    return first;
  }
  std::span<const uint8_t> bytes(size_t count) {
    const auto out = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(out.size());
    return out;
  }

 private:
  std::span<const uint8_t> rest_;
};

// The kernel's side.
class Kernel {
 public:
  explicit Kernel(UniqueFd socket) : socket_(std::move(socket)), buffer_(2 << 20) {}

  void init() {
    struct {
      fuse_in_header header;
      fuse_init_in in;
    } frame{};
    frame.header = {sizeof frame, FUSE_INIT, 1, 0, 0, 0, 0, 0, 0};
    frame.in.major = FUSE_KERNEL_VERSION;
    frame.in.minor = wire::kMinor;
    frame.in.flags = ~0u;
    frame.in.flags2 = ~0u;
    if (::write(socket_.get(), &frame, sizeof frame) < 0) fail("INIT");
  }

  void send(Input& input) {
    const uint8_t opcode = input.byte();
    const uint8_t node = input.byte();
    const uint8_t options = input.byte();
    const auto body = input.bytes(input.byte());
    fuse_in_header header{};
    header.opcode = opcode;
    header.unique = unique_ += 2;
    header.nodeid = recent(nodes_, node);
    header.pid = static_cast<uint32_t>(::getpid());
    const bool extended = (options & kExtension) && body.size() >= 16;
    header.total_extlen = extended ? 2 : 0;
    std::vector<uint8_t> frame(sizeof header);
    frame.insert(frame.end(), body.begin(), body.end());
    if ((options & (kHandle | kNodeInBody)) && body.size() >= 8) {
      const uint64_t number = recent(options & kHandle ? handles_ : nodes_, body[0]);
      std::memcpy(frame.data() + sizeof header, &number, sizeof number);
    }
    header.len = static_cast<uint32_t>(frame.size());
    std::memcpy(frame.data(), &header, sizeof header);
    if (options & kCut) frame.pop_back();
    const uint64_t held = answers_held();
    if (::write(socket_.get(), frame.data(), frame.size()) < 0) fail("the session is gone");
    const bool silent = opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET ||
                        opcode == FUSE_INTERRUPT || (frame.size() < sizeof header);
    if (!silent) wait(header, held);
  }

 private:
  static uint64_t recent(const std::vector<uint64_t>& given, uint8_t back) {
    if (back < given.size()) return given[given.size() - 1 - back];
    return back < 0xf0 ? back : ~uint64_t{0} >> (0xff - back);
  }

  void wait(const fuse_in_header& request, uint64_t held) {
    constexpr int kSliceMs = 5;
    for (int patience = 5'000 / kSliceMs;;) {
      pollfd ready{socket_.get(), POLLIN, 0};
      const int count = ::poll(&ready, 1, kSliceMs);
      if (count < 0 && errno != EINTR) fail("poll");
      if (count <= 0) {
        // What waits for a program may be held.
        if (answers_held() > held) return;
        if (--patience > 0) continue;
        std::fprintf(stderr, "fuzz: opcode %u\n", request.opcode);
        fail("a request was not answered");
      }
      const ssize_t size = ::read(socket_.get(), buffer_.data(), buffer_.size());
      fuse_out_header header;
      if (size < static_cast<ssize_t>(sizeof header)) fail("a short reply");
      std::memcpy(&header, buffer_.data(), sizeof header);
      if (header.len != static_cast<size_t>(size)) fail("a reply of another length than it says");
      if (header.unique != request.unique) continue;  // a notice, or late
      if (header.error > 0 || header.error < -4095) fail("an error that is none");
      if (header.error == 0) note(request.opcode, size - sizeof header);
      return;
    }
  }

  void note(uint32_t opcode, size_t size) {
    const uint8_t* body = buffer_.data() + sizeof(fuse_out_header);
    const auto number = [&](size_t at) {
      uint64_t out = 0;
      if (at + sizeof out <= size) std::memcpy(&out, body + at, sizeof out);
      return out;
    };
    switch (opcode) {
      case FUSE_LOOKUP: case FUSE_MKDIR: case FUSE_MKNOD: case FUSE_SYMLINK: case FUSE_LINK:
        if (number(0) != 0) nodes_.push_back(number(0));
        break;
      case FUSE_CREATE: case FUSE_TMPFILE:
        nodes_.push_back(number(0));
        handles_.push_back(number(sizeof(fuse_entry_out)));
        break;
      case FUSE_OPEN: case FUSE_OPENDIR:
        handles_.push_back(number(0));
        break;
      default:
        break;
    }
  }

  UniqueFd socket_;
  std::vector<uint8_t> buffer_;
  uint64_t unique_ = 10;
  std::vector<uint64_t> nodes_{FUSE_ROOT_ID};
  std::vector<uint64_t> handles_;
};

const fs::path& scratch() {
  static const fs::path path = [] {
    // A random fallocate must not fill the disk.
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    fs::path made = fs::temp_directory_path() / ("insitu-fuzz-" + std::to_string(::getpid()));
    fs::create_directories(made / "store");
    std::ofstream(made / "store" / "out") << "a result";
    std::ofstream(made / "outside") << "untouched";
    return made;
  }();
  return path;
}

}  // namespace

void fuzz_session(const uint8_t* data, size_t size) {
  const fs::path& place = scratch();
  const fs::path backing = place / "backing";
  fs::create_directories(backing / "dir");
  std::ofstream(backing / "a") << "hello";
  fs::create_symlink("../outside", backing / "link");

  Input input({data, size});
  const uint8_t how = input.byte();
  answers_begin(how);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) fail("socketpair");
  UniqueFd device(ends[1]);
  {
    Kernel kernel{UniqueFd(ends[0])};
    const auto volume = std::make_shared<Volume>(backing.string(), 1'000);
    Upcalls upcalls{Napi::Env(nullptr), Napi::Function()};
    VirtualFiles files(volume, {".compute", ".results", ".query"}, upcalls);
    Program program;
    program.key = volume->key_of("");
    program.dev = volume->stat(program.key).dev;
    program.ino = volume->stat(program.key).ino;
    program.size = 10;
    files.set_program(program);
    auto set = std::make_shared<ResultSet>();
    set->version = 1;
    set->folder = place / "store";
    set->results.push_back({"out", 8, "etag"});
    set->mode = 0444;
    set->inputs = std::make_shared<InputSession>(volume, program.key, Principal{0, 0, {}});
    files.publish(program.key, how & 4 ? set : nullptr, set);

    SessionOptions options;
    options.backing = backing;
    options.exclusive = how & 1;
    options.list_reserved = how & 2;
    auto session = std::make_shared<Session>(options, &files, [](std::string) {});
    files.attach(session);
    upcalls.attach(*session);
    volume->serve(std::make_shared<MountWriters>(session, session->inodes().root()->tree()));
    kernel.init();
    session->start_on(std::move(device));
    // As many as an input holds; each costs a look at the clock and no more.
    while (!input.done()) kernel.send(input);
    upcalls.close();
    session->stop();
    volume->serve(nullptr);
    files.clear();
  }
  std::string outside;
  std::ifstream(place / "outside") >> outside;
  if (outside != "untouched") fail("a file outside was changed");
  if (std::distance(fs::directory_iterator(place), {}) != 3) fail("something appeared outside");
  std::error_code ignored;
  fs::permissions(backing, fs::perms::owner_all, ignored);
  constexpr auto skip = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at(backing, skip, ignored), end; at != end;
       at.increment(ignored))
    if (at->is_directory(ignored)) fs::permissions(*at, fs::perms::owner_all, ignored);
  fs::remove_all(backing, ignored);
}
