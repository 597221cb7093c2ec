// Native code in a worker's place: takes descriptors as a worker gets them, sets the worker's filter as
// a worker does, and tries what its arguments name.
//
//   attack [--input] [--spool] [--no-worker-filter] NAME...
//   attack --list
//
// Each attempt is a line on standard output: `NAME refused ERRNO` or `NAME done RESULT`; of one that
// ends the process the line is `NAME` alone, so these are given one by one.

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "attack.h"
#include "sandbox/seccomp.h"

namespace hostile {

long call(long number, long a, long b, long c, long d, long e, long f) {
  const long result = syscall(number, a, b, c, d, e, f);
  return result < 0 ? -errno : result;
}

namespace {

constexpr std::span<const Attack> (*kFamilies[])() = {process_attacks, file_attacks, kernel_attacks,
                                                      memory_attacks};

const Attack* find(std::string_view name) {
  for (const auto& family : kFamilies)
    for (const Attack& attack : family())
      if (name == attack.name) return &attack;
  return nullptr;
}

void say(const std::string& text) { (void)!write(STDOUT_FILENO, text.data(), text.size()); }

// One descriptor in a frame on the channel; the test sends the input first.
int receive() {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(3, &message, MSG_CMSG_CLOEXEC) < 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd = -1;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

void list() {
  for (const auto& family : kFamilies)
    for (const Attack& attack : family()) say(std::string(attack.name) + "\n");
}

int run(int argc, char** argv) {
  bool filtered = true;
  Loot loot;
  int index = 1;
  for (; index < argc && argv[index][0] == '-'; ++index) {
    const std::string_view option = argv[index];
    if (option == "--list") return list(), 0;
    if (option == "--no-worker-filter") {
      filtered = false;
    } else if (option == "--input") {
      loot.input = receive();
      if (loot.input < 0) return 66;
    } else if (option == "--spool") {
      loot.spool = receive();
      if (loot.spool < 0) return 66;
    } else {
      return 64;
    }
  }
  if (filtered && insitu::install_filter(insitu::worker_filter()) != 0) return 65;
  for (; index < argc; ++index) {
    const Attack* attack = find(argv[index]);
    if (attack == nullptr) return 64;
    say(attack->name);
    const long result = attack->attempt(loot);
    say(result < 0 ? std::string(" refused ") + strerrorname_np(static_cast<int>(-result)) + "\n"
                   : " done " + std::to_string(result) + "\n");
  }
  return 0;
}

}  // namespace
}  // namespace hostile

int main(int argc, char** argv) { return hostile::run(argc, argv); }
