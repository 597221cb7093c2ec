// Puts a tree into the mount namespace of a running process, or takes it out again. One purpose, one
// process each: what is done in a foreign namespace ends with it, and a tree that does not answer
// hangs nobody else. It may be started before it is needed: its order comes over the socket that is its standard
// input, and it ends when that does. An order is one of
//
//   attach PID START SPACE TARGET ro|rw NAME [UIDS GIDS], with the descriptor ROOT
//   detach PID START SPACE TARGET MOUNT
//   renew PID START SPACE DEVICE SOURCE FLAGS:ROOT…
//
// and its bytes are their length in 32 bits of this machine, with which ROOT comes, then each word and a zero.
//
// PID is of the caller's namespace and began START ticks after the boot, in the mount namespace numbered SPACE:
// another that has its number by now is refused. ROOT is a mount that is attached nowhere, and NAME the directory of it that is
// shown. UIDS and GIDS say which ids of the host its ids are shown as; without them, as they are. TARGET is
// in that process's mount namespace and below its root, absolute and walked without following a link, with
// the rights that root of its container has. The last component of TARGET is made if it is not there; an
// entry that is there is an empty directory. A mount at it whose server died is replaced. MOUNT is
// what attach says once a walk of TARGET over there ends in the new mount, which detach finds wherever it is
// by then; or 0: only a dead one at TARGET. renew replaces bind mounts of the dead connection with the
// device number 0:DEVICE by such of the mount at SOURCE, ROOT by ROOT, and says how many.
//
// Exits with 0, with 3 when there is no such process any more, else with 1; why stands in one line.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "containers/enter.h"
#include "containers/place.h"
#include "containers/refusal.h"
#include "containers/renew.h"
#include "containers/statmount.h"
#include "containers/tree.h"

namespace {

using insitu::fail;
using insitu::is_dead;
using insitu::kMoveMountBeneath;
using insitu::kWalk;
using insitu::mount_id;
using insitu::move_in;
using insitu::refuse;
using insitu::take_away;
using insitu::UniqueFd;
using insitu::walk;

// A file server that does not answer would keep us for ever.
constexpr unsigned kDeadlineSeconds = 10;
// What a container may have mounted of a home is told root by root.
constexpr uint32_t kMostBytes = 64 * 1024 * 1024;
constexpr long kFuseMagic = 0x65735546;
constexpr int kMostLooks = 200;

struct Target {
  UniqueFd parent;
  std::string name;
  bool made = false;

  UniqueFd open() const {
    return walk(parent.get(), name.c_str(), O_PATH | O_DIRECTORY, kWalk | RESOLVE_BENEATH);
  }
  void make() {
    made = mkdirat(parent.get(), name.c_str(), 0755) == 0;
    if (!made && errno != EEXIST) fail("make the target");
  }
  // Where nothing came to stand nothing is left.
  ~Target() {
    if (made) unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR);
  }
};

Target find(const char* path) {
  std::string target(path);
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  if (target.empty() || target.front() != '/' || target == "/")
    refuse("the target is an absolute path, and not the root");
  const size_t slash = target.rfind('/');
  std::string name = target.substr(slash + 1);
  if (name == "." || name == "..") refuse("the target ends with a name");
  const std::string parent = slash == 0 ? "/" : target.substr(0, slash);
  UniqueFd directory = walk(AT_FDCWD, parent.c_str(), O_PATH | O_DIRECTORY);
  if (!directory) fail("find " + parent + " in there");
  return {std::move(directory), std::move(name)};
}

bool is_empty(int directory) {
  const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = fd < 0 ? nullptr : fdopendir(fd);
  if (listing == nullptr) fail("list the target");
  int entries = 0;
  while (entries <= 2 && readdir(listing) != nullptr) ++entries;
  closedir(listing);
  return entries <= 2;  // "." and ".."
}

void refuse_shared(uint64_t mount) {
  if (insitu::is_shared(mount))
    refuse("the target lies in a mount that is shared with other namespaces: they would see it too");
}

// Free to be mounted on, and in nobody else's sight.
void put(const UniqueFd& tree, Target& place) {
  place.make();
  const UniqueFd point = place.open();
  if (!point) fail("open the target");
  const uint64_t below = mount_id(place.parent.get());
  if (mount_id(point.get()) != below) {
    if (is_dead(point.get())) {
      // Beneath it first: the empty directory is never seen, nor written into.
      refuse_shared(below);
      move_in(tree, point, kMoveMountBeneath);
      return take_away(point.get());
    }
    struct statfs out{};
    if (fstatfs(point.get(), &out) == 0 && out.f_type == kFuseMagic)
      refuse("a volume is mounted at the target already");
  }
  refuse_shared(mount_id(point.get()));
  if (!is_empty(point.get())) refuse("the target is not empty: its files would be covered");
  move_in(tree, point, 0);
}

void attach(const char* target, const UniqueFd& tree) {
  Target place = find(target);
  put(tree, place);
  // As a process over there sees it, from the root on.
  const UniqueFd seen = walk(AT_FDCWD, target, O_PATH | O_DIRECTORY);
  const uint64_t id = mount_id(tree.get());
  if (!seen || mount_id(seen.get()) != id) {
    take_away(tree.get());
    refuse("something else came to the target meanwhile");
  }
  place.made = false;
  printf("%llu\n", static_cast<unsigned long long>(id));
}

void detach_dead(const char* target) {
  const Target place = find(target);
  const UniqueFd point = place.open();
  if (!point) fail("open the target");
  if (!is_dead(point.get())) refuse("no dead mount is there");
  take_away(point.get());
}

// Whatever was renamed or moved meanwhile. One that somebody unmounted is away, as was asked for.
void detach(uint64_t id) {
  std::string path;
  // Names may change between the two looks.
  for (int tries = 0; tries < kMostLooks; ++tries) {
    if (!insitu::place_of(id, path)) {
      if (errno == ENOENT) return;
      fail("find the mount");
    }
    const UniqueFd point = walk(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY);
    if (point && mount_id(point.get()) == id) return take_away(point.get());
  }
  refuse("something covers the mount");
}

struct Order {
  std::vector<std::string> words;
  UniqueFd root;
};

void serve(const Order& order) {
  const auto& words = order.words;
  const size_t count = words.size();
  const std::string what = count > 0 ? words[0] : "";
  const auto go = [&] { insitu::enter(words[1].c_str(), words[2].c_str(), words[3].c_str()); };
  if (what == "attach" && (count == 7 || count == 9)) {
    const std::string& mode = words[5];
    if (mode != "ro" && mode != "rw") refuse("the mode is ro or rw");
    const bool mapped = count == 9;
    const UniqueFd tree = insitu::clone_tree(
        order.root.get(),
        {words[6], mode == "ro", mapped ? words[7] : "", mapped ? words[8] : ""});
    go();
    attach(words[4].c_str(), tree);
  } else if (what == "detach" && count == 6) {
    go();
    const uint64_t mount = strtoull(words[5].c_str(), nullptr, 10);
    if (mount == 0) detach_dead(words[4].c_str());
    else detach(mount);
  } else if (what == "renew" && count >= 6) {
    const auto device = static_cast<uint32_t>(strtoul(words[4].c_str(), nullptr, 10));
    auto replacements =
        insitu::clone_replacements(words[5].c_str(), {words.begin() + 6, words.end()});
    go();
    printf("%d\n", insitu::replace_dead(device, std::move(replacements)));
  } else {
    refuse("this is no order");
  }
}

// How many came; less than `size` only at the end. `root`: what came with them.
size_t receive(void* data, size_t size, UniqueFd* root) {
  auto* const bytes = static_cast<char*>(data);
  size_t filled = 0;
  while (filled < size) {
    iovec part{bytes + filled, size - filled};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof(int))];
    if (root != nullptr) {
      message.msg_control = rights;
      message.msg_controllen = sizeof rights;
    }
    const ssize_t came = recvmsg(STDIN_FILENO, &message, MSG_CMSG_CLOEXEC);
    if (came < 0 && errno == EINTR) continue;
    if (came < 0) fail("wait for an order, which comes over a socket");
    if (came == 0) break;
    filled += static_cast<size_t>(came);
    const cmsghdr* const header = root != nullptr ? CMSG_FIRSTHDR(&message) : nullptr;
    if (header == nullptr || header->cmsg_type != SCM_RIGHTS) continue;
    int descriptor;
    memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    root->reset(descriptor);
  }
  return filled;
}

// Without words: nobody is there any more to give one. One that is cut off is none.
Order wait_for_order() {
  Order order;
  uint32_t size = 0;
  if (receive(&size, sizeof size, &order.root) < sizeof size) return order;
  alarm(kDeadlineSeconds);
  if (size > kMostBytes) refuse("the order is too long");
  std::string text(size, '\0');
  if (receive(text.data(), size, nullptr) < size) return order;
  for (size_t at = 0; at < size; at += order.words.back().size() + 1)
    order.words.emplace_back(text.c_str() + at);
  return order;
}

}  // namespace

int main() {
  umask(022);
  try {
    const Order order = wait_for_order();
    if (!order.words.empty()) serve(order);
    return 0;
  } catch (const insitu::Refusal& refusal) {
    fprintf(stderr, "%s\n", refusal.why.c_str());
    return refusal.status;
  }
}
