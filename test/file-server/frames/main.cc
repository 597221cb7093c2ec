// Feeds a session frames that no kernel would send: random operations with random bodies, cut
// short, over-long, with names that try to leave the directory. Passes when the session survives,
// answers, and nothing outside the backing directory was touched. Built with a sanitizer by
// scripts/test-sanitized.
//
// frames SEED COUNT       runs that many frames; prints the seed

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "file-server/opcodes.h"
#include "file-server/session.h"
#include "file-server/wire.h"

namespace {

using insitu::UniqueFd;
namespace fs = std::filesystem;

using Bytes = std::vector<std::byte>;

template <class T>
void append(Bytes& out, const T& value) {
  const auto* start = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), start, start + sizeof value);
}

Bytes frame(uint32_t opcode, uint64_t unique, uint64_t node, const Bytes& body) {
  Bytes out;
  fuse_in_header header{};
  header.len = static_cast<uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = unique;
  header.nodeid = node;
  append(out, header);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Bytes init_frame() {
  fuse_init_in in{};
  in.major = FUSE_KERNEL_VERSION;
  in.minor = insitu::wire::kMinor;
  in.flags = ~0u;
  in.flags2 = ~0u;
  Bytes body;
  append(body, in);
  return frame(FUSE_INIT, 1, 0, body);
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  uint64_t below(uint64_t bound) { return engine_() % bound; }

  // Small numbers name nodes and handles that exist; the rest are edges.
  uint64_t number() {
    switch (below(6)) {
      case 0: return engine_();
      case 1: return ~uint64_t{0} - below(4);
      case 2: return uint64_t{1} << below(64);
      default: return below(16);
    }
  }
  std::string name() {
    static const char* const names[] = {"a", "b", "dir", "..", ".", "../outside", "/outside", "",
                                        "a/b", "user.x", "system.posix_acl_access", "long"};
    std::string out = names[below(std::size(names))];
    return out == "long" ? std::string(below(5'000), 'n') : out;
  }
  Bytes body() {
    Bytes out;
    for (uint64_t words = below(12); words > 0; --words) append(out, number());
    for (uint64_t names = below(3); names > 0; --names) {
      for (const char c : name()) out.push_back(static_cast<std::byte>(c));
      if (below(8) != 0) out.push_back(std::byte{0});
    }
    if (below(4) == 0) out.resize(below(out.size() + 1));
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

int run(uint64_t seed, uint64_t count) {
  const fs::path scratch =
      fs::temp_directory_path() / ("insitu-frames-" + std::to_string(::getpid()));
  const fs::path backing = scratch / "backing";
  fs::create_directories(backing / "dir");
  std::ofstream(backing / "a") << "hello";
  std::ofstream(scratch / "outside") << "untouched";
  // A random fallocate must not fill the disk.
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1 << 20, 1 << 20};
  ::setrlimit(RLIMIT_FSIZE, &limit);

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return 1;
  UniqueFd kernel(ends[0]);
  UniqueFd device(ends[1]);
  uint64_t answered = 0;
  uint64_t expected = 0;
  bool same = false;
  {
    insitu::SessionOptions options;
    options.backing = backing;
    insitu::Session session(options, nullptr, [](std::string) {});
    const Bytes init = init_frame();
    if (::write(kernel.get(), init.data(), init.size()) < 0) return 1;
    session.start_on(std::move(device));

    std::atomic<uint64_t> seen = 0;
    std::thread reader([&] {
      Bytes buffer(2 << 20);
      while (::read(kernel.get(), buffer.data(), buffer.size()) > 0) ++seen;
    });
    Dice dice(seed);
    for (uint64_t i = 0; i < count; ++i) {
      const auto opcode = static_cast<uint32_t>(dice.below(insitu::kOpcodeCount + 4));
      // Its answer is the end.
      if (opcode == FUSE_DESTROY) continue;
      Bytes bytes = frame(opcode, 2 * i + 10, dice.number(), dice.body());
      const bool whole = dice.below(16) != 0;
      if (!whole) bytes.resize(1 + dice.below(bytes.size()));
      if (::write(kernel.get(), bytes.data(), bytes.size()) < 0) return 1;
      if (whole && opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT)
        ++expected;
    }
    session.stop();
    ::shutdown(kernel.get(), SHUT_RDWR);
    reader.join();
    answered = seen;
  }
  std::string outside;
  std::ifstream(scratch / "outside") >> outside;
  same = outside == "untouched" && std::distance(fs::directory_iterator(scratch), {}) == 2;
  fs::remove_all(scratch);
  std::cout << "frames: seed " << seed << ", " << count << " sent, " << answered << " answered\n";
  // What was not read yet when the session stopped has no answer; most of it must have one.
  return same && answered > expected / 2 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return run(std::strtoull(argv[1], nullptr, 10), std::strtoull(argv[2], nullptr, 10));
}
