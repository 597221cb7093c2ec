#include "containers/run_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

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

// By posix_spawn, which copies nothing of this process, whatever its size.
pid_t start(std::vector<std::string>& words, int root, const Pipe& out, const Pipe& err) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* none[] = {nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out.writer.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.writer.get(), 2);
  if (root >= 0) ::posix_spawn_file_actions_adddup2(&actions, root, 3);
  // The alarm must reach it.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t all, no_signals;
  ::sigfillset(&all);
  ::sigemptyset(&no_signals);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &no_signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), none);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw Failure(error, "run " + words[0]);
  return child;
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

Ended run_helper(std::vector<std::string> words, int root) {
  stuck().reap();
  Pipe out, err;
  const pid_t child = start(words, root, out, err);
  out.writer.reset();
  err.writer.reset();
  const int status = wait_for(child);
  return {status, drain(out.reader.get()), drain(err.reader.get())};
}

}  // namespace insitu
