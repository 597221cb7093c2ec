#include "containers/run_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "common/failure.h"
#include "common/unique_fd.h"
#include "containers/process.h"

namespace insitu {
namespace {

// It ends itself by an alarm after ten seconds.
constexpr int kPatienceMs = 12'000;

// What is in the pipe once its writer has ended: less than what a pipe holds.
std::string drain(int pipe) {
  std::string text(4'096, '\0');
  const ssize_t size = ::read(pipe, text.data(), text.size());
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

struct Pipe {
  UniqueFd reader, writer;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw Failure(errno, "pipe");
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
};

// One that waits for its order, and ends with the other end of its socket, so with this process.
struct Helper {
  pid_t child = 0;
  UniqueFd orders, out, err;
};

// By posix_spawn, which copies nothing of this process, whatever its size.
Helper start(std::string program) {
  Pipe out, err;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw Failure(errno, "socket");
  Helper helper{0, UniqueFd(ends[0]), std::move(out.reader), std::move(err.reader)};
  const UniqueFd its(ends[1]);
  char* argv[] = {program.data(), nullptr};
  char* none[] = {nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, its.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.writer.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.writer.get(), 2);
  // The alarm must reach it.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t all, no_signals;
  ::sigfillset(&all);
  ::sigemptyset(&no_signals);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &no_signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  const int error = ::posix_spawn(&helper.child, argv[0], &actions, &attributes, argv, none);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw Failure(error, "run " + program);
  return helper;
}

// False: it has ended.
bool send_all(int socket, const void* data, size_t size, int root) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    iovec part{const_cast<char*>(at), size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof root)] = {};
    if (root >= 0) {
      message.msg_control = rights;
      message.msg_controllen = sizeof rights;
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof root);
      std::memcpy(CMSG_DATA(header), &root, sizeof root);
    }
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
    root = -1;
  }
  return true;
}

// As mount_attach.cc has it: the length, with `root`, then the words, each with its end.
bool order(const Helper& helper, const std::vector<std::string>& words, int root) {
  std::string text;
  for (const auto& word : words) text.append(word.c_str(), word.size() + 1);
  const auto size = static_cast<uint32_t>(text.size());
  const int socket = helper.orders.get();
  return send_all(socket, &size, sizeof size, root) && send_all(socket, text.data(), size, -1);
}

// Those that not even SIGKILL ends, as long as somebody's file server does not answer them. They do nothing
// any more once they can; until then their numbers are theirs.
class Stuck {
 public:
  void add(pid_t child) {
    const std::lock_guard lock(mutex_);
    children_.push_back(child);
  }
  void reap() {
    const std::lock_guard lock(mutex_);
    std::erase_if(children_, [](pid_t child) { return ::waitpid(child, nullptr, WNOHANG) != 0; });
  }

 private:
  std::mutex mutex_;
  std::vector<pid_t> children_;
};

Stuck& stuck() {
  static Stuck all;
  return all;
}

// One at most: starting it is most of what an order takes.
class Ready {
 public:
  Helper take(const std::string& program) {
    {
      const std::lock_guard lock(mutex_);
      if (std::optional<Helper> found = std::exchange(helper_, std::nullopt)) return std::move(*found);
    }
    return start(program);
  }
  void fill(const std::string& program) {
    const std::lock_guard lock(mutex_);
    if (!helper_) helper_ = start(program);
  }

 private:
  std::mutex mutex_;
  std::optional<Helper> helper_;
};

Ready& ready() {
  static Ready one;
  return one;
}

// Of exit(2); -1: it was killed, or is as good as that.
int wait_for(pid_t child) {
  const UniqueFd pidfd = open_pidfd(child);
  pollfd look{pidfd.get(), POLLIN, 0};
  int ready;
  do ready = ::poll(&look, 1, kPatienceMs);
  while (ready < 0 && errno == EINTR);
  int status = 0;
  if (ready == 0) ::kill(child, SIGKILL);
  pid_t ended;
  do ended = ::waitpid(child, &status, ready == 0 ? WNOHANG : 0);
  while (ended < 0 && errno == EINTR);
  if (ended == 0) stuck().add(child);
  return ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

Ended run_helper(const std::string& program, const std::vector<std::string>& words, int root) {
  stuck().reap();
  Helper helper = ready().take(program);
  if (!order(helper, words, root)) {
    // Somebody ended it while it waited.
    stuck().add(helper.child);
    helper = start(program);
    if (!order(helper, words, root)) {
      stuck().add(helper.child);
      throw Failure(EPIPE, "run " + program);
    }
  }
  const int status = wait_for(helper.child);
  return {status, drain(helper.out.get()), drain(helper.err.get())};
}

void prepare_helper(const std::string& program) { ready().fill(program); }

}  // namespace insitu
