// A session is handed over to another one, without a kernel: this program speaks to the first, takes
// its state as bytes with descriptors beside them, and goes on speaking to the second as if nothing
// had happened. Prints `successor: fine`, or what is not.
//
// successor DIRECTORY     an empty one, to work in

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "file-server/session.h"
#include "file-server/session_state.h"
#include "file-server/wire.h"

namespace {

using insitu::Session;
using insitu::SessionState;
using insitu::UniqueFd;
namespace fs = std::filesystem;
namespace wire = insitu::wire;

using Bytes = std::vector<std::byte>;

[[noreturn]] void fail(const std::string& what) {
  std::cout << "successor: " << what << "\n";
  std::exit(1);
}

void expect(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

// The kernel's side of a connection.
class Kernel {
 public:
  Kernel() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) fail("no socket pair");
    kernel_ = UniqueFd(ends[0]);
    device_ = UniqueFd(ends[1]);
  }
  UniqueFd device() const { return UniqueFd(::fcntl(device_.get(), F_DUPFD_CLOEXEC, 0)); }

  void send(uint32_t opcode, uint64_t node, const Bytes& body) {
    Bytes frame(sizeof(fuse_in_header));
    fuse_in_header header{};
    header.len = static_cast<uint32_t>(sizeof header + body.size());
    header.opcode = opcode;
    header.unique = unique_ += 2;
    header.nodeid = node;
    std::memcpy(frame.data(), &header, sizeof header);
    frame.insert(frame.end(), body.begin(), body.end());
    if (::write(kernel_.get(), frame.data(), frame.size()) < 0) fail("nothing reads the frames");
  }
  // The answer's payload; `error` 0 or a positive errno.
  Bytes ask(uint32_t opcode, uint64_t node, const Bytes& body, int& error) {
    send(opcode, node, body);
    return answer(error);
  }
  // To what was sent last.
  Bytes answer(int& error) {
    Bytes answer(1 << 16);
    for (;;) {
      pollfd ready{kernel_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 10'000) <= 0) fail("no answer");
      const ssize_t size = ::read(kernel_.get(), answer.data(), answer.size());
      if (size < static_cast<ssize_t>(sizeof(fuse_out_header))) fail("a short answer");
      fuse_out_header header;
      std::memcpy(&header, answer.data(), sizeof header);
      if (header.unique == 0) continue;  // a notice
      expect(header.unique == unique_, "an answer to something else");
      error = -header.error;
      return Bytes(answer.begin() + sizeof header, answer.begin() + size);
    }
  }

 private:
  UniqueFd kernel_;
  UniqueFd device_;
  uint64_t unique_ = 2;
};

template <class T>
Bytes bytes_of(const T& value, std::string_view name = {}, bool named = false) {
  Bytes out(sizeof value);
  std::memcpy(out.data(), &value, sizeof value);
  for (const char c : name) out.push_back(static_cast<std::byte>(c));
  if (named) out.push_back(std::byte{0});
  return out;
}

template <class T>
T payload(const Bytes& bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

Bytes name_only(std::string_view name) {
  Bytes out;
  for (const char c : name) out.push_back(static_cast<std::byte>(c));
  out.push_back(std::byte{0});
  return out;
}

// Requests as the operations of a file system; each fails the test on an error it does not expect.
class Client {
 public:
  explicit Client(Kernel& kernel) : kernel_(kernel) {}

  fuse_entry_out lookup(uint64_t parent, std::string_view name) {
    return payload<fuse_entry_out>(must(FUSE_LOOKUP, parent, name_only(name), "lookup"));
  }
  fuse_attr getattr(uint64_t node) {
    return payload<fuse_attr_out>(must(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{}), "getattr"))
        .attr;
  }
  int getattr_error(uint64_t node) {
    int error = 0;
    kernel_.ask(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{}), error);
    return error;
  }
  uint64_t open(uint64_t node, int flags) {
    fuse_open_in in{};
    in.flags = static_cast<uint32_t>(flags);
    return payload<wire::OpenOut>(must(FUSE_OPEN, node, bytes_of(in), "open")).fh;
  }
  uint64_t opendir(uint64_t node) {
    return payload<wire::OpenOut>(must(FUSE_OPENDIR, node, bytes_of(fuse_open_in{}), "opendir")).fh;
  }
  std::string read(uint64_t node, uint64_t fh) {
    fuse_read_in in{};
    in.fh = fh;
    in.size = 4096;
    const Bytes data = must(FUSE_READ, node, bytes_of(in), "read");
    return {reinterpret_cast<const char*>(data.data()), data.size()};
  }
  int write(uint64_t node, uint64_t fh, std::string_view data) {
    fuse_write_in in{};
    in.fh = fh;
    in.size = static_cast<uint32_t>(data.size());
    int error = 0;
    kernel_.ask(FUSE_WRITE, node, bytes_of(in, data), error);
    return error;
  }
  // The names, and the cookie to go on at.
  std::string list(uint64_t node, uint64_t fh, uint64_t& offset, uint32_t room) {
    fuse_read_in in{};
    in.fh = fh;
    in.offset = offset;
    in.size = room;
    const Bytes data = must(FUSE_READDIR, node, bytes_of(in), "readdir");
    std::string names;
    for (size_t at = 0; at < data.size();) {
      fuse_dirent entry;
      std::memcpy(&entry, data.data() + at, FUSE_NAME_OFFSET);
      const auto* name = reinterpret_cast<const char*>(data.data() + at + FUSE_NAME_OFFSET);
      names.append(name, entry.namelen) += ' ';
      offset = entry.off;
      at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
    }
    return names;
  }
  void unlink(uint64_t parent, std::string_view name) {
    must(FUSE_UNLINK, parent, name_only(name), "unlink");
  }
  void release(uint64_t node, uint64_t fh) {
    fuse_release_in in{};
    in.fh = fh;
    must(FUSE_RELEASE, node, bytes_of(in), "release");
  }
  void forget(uint64_t node, uint64_t lookups) {
    kernel_.send(FUSE_FORGET, node, bytes_of(fuse_forget_in{lookups}));
  }

 private:
  Bytes must(uint32_t opcode, uint64_t node, const Bytes& body, const std::string& what) {
    int error = 0;
    Bytes answer = kernel_.ask(opcode, node, body, error);
    if (error != 0) fail(what + " gave " + std::strerror(error));
    return answer;
  }

  Kernel& kernel_;
};

std::unique_ptr<Session> session_of(const fs::path& backing) {
  insitu::SessionOptions options;
  options.backing = backing;
  return std::make_unique<Session>(options, nullptr, [](std::string) {});
}

void initialise(Kernel& kernel, Session& session) {
  fuse_init_in in{};
  in.major = FUSE_KERNEL_VERSION;
  in.minor = wire::kMinor;
  in.flags = FUSE_INIT_EXT | FUSE_ASYNC_READ;
  kernel.send(FUSE_INIT, 0, bytes_of(in));
  session.start_on(kernel.device());
  int error = 0;
  kernel.answer(error);
  expect(error == 0, "INIT");
}

// As it would go through a socket to another process.
SessionState carried(SessionState state) {
  const Bytes bytes = state.encode();
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 8)
    expect(!SessionState::decode(std::span{bytes}.first(size)), "truncated bytes were taken");
  auto out = SessionState::decode(bytes);
  if (!out) fail("its own bytes were not taken");
  expect(out->encode() == bytes, "the bytes do not say what they did");
  out->descriptors = std::move(state.descriptors);
  return std::move(*out);
}

void check(const fs::path& scratch) {
  const fs::path backing = scratch / "backing";
  const fs::path tree = scratch / "tree";
  fs::create_directories(backing / "dir" / "sub");
  fs::create_directories(tree / "inside");
  std::ofstream(backing / "dir" / "file") << "hello";
  std::ofstream(backing / "dir" / "gone") << "still open";
  std::ofstream(tree / "inside" / "file") << "grafted";
  for (int i = 0; i < 300; ++i) std::ofstream(backing / "dir" / "sub" / std::to_string(i)) << i;

  Kernel kernel;
  Client client(kernel);
  auto first = session_of(backing);
  initialise(kernel, *first);
  insitu::GraftRequest request;
  request.name = "graft";
  request.backing = tree;
  request.revocable = true;
  request.quota_bytes = 64 << 20;
  const uint32_t graft = first->grafts().graft(request);

  const auto dir = client.lookup(FUSE_ROOT_ID, "dir");
  const auto file = client.lookup(dir.nodeid, "file");
  const auto again = client.lookup(dir.nodeid, "file");
  const auto gone = client.lookup(dir.nodeid, "gone");
  const auto sub = client.lookup(dir.nodeid, "sub");
  std::vector<fuse_entry_out> many;
  for (int i = 0; i < 300; ++i) many.push_back(client.lookup(sub.nodeid, std::to_string(i)));
  const auto point = client.lookup(FUSE_ROOT_ID, "graft");
  const auto inside = client.lookup(point.nodeid, "inside");
  const auto grafted = client.lookup(inside.nodeid, "file");
  expect(again.nodeid == file.nodeid, "one file, two nodes");
  const uint64_t writing = client.open(file.nodeid, O_RDWR);
  const uint64_t unlinked = client.open(gone.nodeid, O_RDWR);
  const uint64_t in_graft = client.open(grafted.nodeid, O_RDWR);
  client.unlink(dir.nodeid, "gone");
  const uint64_t listing = client.opendir(sub.nodeid);
  uint64_t offset = 0;
  std::string names = client.list(sub.nodeid, listing, offset, 1024);

  SessionState state = carried(first->hand_over());
  first.reset();
  expect(fs::exists(backing / "graft"), "the predecessor took the point away");
  expect(state.nodes.size() == 308, "nodes are missing");
  auto second = session_of(backing);
  second->resume_on(kernel.device(), state);
  state.descriptors.clear();
  expect(second->negotiated().flags == state.negotiated.flags, "other flags");

  // Nodes are the same things under the same numbers, and new ones get others.
  for (const auto& entry : {dir, file, gone, sub, point, inside, grafted})
    expect(client.getattr(entry.nodeid).ino == entry.attr.ino, "a node is something else");
  for (const auto& entry : many)
    expect(client.getattr(entry.nodeid).ino == entry.attr.ino, "one of many is something else");
  expect(client.lookup(dir.nodeid, "file").nodeid == file.nodeid, "a known file got a new node");
  std::ofstream(backing / "dir" / "new") << "new";
  const auto fresh = client.lookup(dir.nodeid, "new");
  for (const auto& entry : many) expect(fresh.nodeid != entry.nodeid, "a node id was used again");

  // Handles go on: numbers, flags, a file without a name, a listing where it was.
  expect(client.write(file.nodeid, writing, "HELLO") == 0, "writing to a handle");
  expect(client.read(file.nodeid, writing) == "HELLO", "reading from it");
  expect(client.read(gone.nodeid, unlinked) == "still open", "an unlinked file");
  expect(client.write(grafted.nodeid, in_graft, "GRAFTED") == 0, "writing in the graft");
  expect(client.open(file.nodeid, O_RDONLY) > in_graft, "a handle's number was used again");
  for (std::string more; !(more = client.list(sub.nodeid, listing, offset, 4096)).empty();)
    names += more;
  expect(std::count(names.begin(), names.end(), ' ') == 302, "the listing was not continued");

  // Lookups are counted on: three of them, one after the hand-over.
  client.release(file.nodeid, writing);
  client.forget(file.nodeid, 2);
  expect(client.getattr_error(file.nodeid) == 0, "forgotten too early");
  const auto counted = client.lookup(dir.nodeid, "file");
  expect(counted.nodeid == file.nodeid, "a node that is known was replaced");

  // The graft is one still.
  expect(second->grafts().statistics().size() == 1, "the graft is gone");
  second->grafts().revoke(graft);
  expect(client.getattr_error(grafted.nodeid) == ESTALE, "the graft outlives its revocation");
  expect(!fs::exists(backing / "graft"), "the point was not taken away");
  second->stop();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  check(argv[1]);
  std::cout << "successor: fine\n";
}
