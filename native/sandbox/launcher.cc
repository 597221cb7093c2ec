// The step between the daemon and bubblewrap, as a program of its own so that nothing of it happens
// in the daemon: it takes an unprivileged identity, lowers what the process may use, makes the first
// seccomp filter and execs.
//
//   launcher --parent PID [--identity UID GID] [--bind SOURCE TARGET]... [--stage DIR]
//            [--filter FD | --filter-self] -- PROGRAM ARGUMENT...
//
// It and PROGRAM die with their parent, which is PID unless it is dead already; and with PROGRAM its
// process group.
// --bind becomes `--ro-bind SOURCE TARGET` in front of PROGRAM's own arguments. With --stage (needs
// root) the sources are first bound, as root and in a mount namespace of their own, below DIR, so
// that the unprivileged identity need not be able to reach them: a checkout may lie in /root.
// --probe alone prints a word: a jail in which that works can be made here.
// --filter FD leaves the filter as a readable memory file at FD; --filter-self sets it on this process.

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/unique_fd.h"
#include "sandbox/seccomp.h"

namespace insitu {
namespace {

// ioprio_set(2): best effort, the last of its eight levels. linux/ioprio.h is no C++ in some versions.
constexpr int kThisProcess = 1;
constexpr int kLowIoPriority = 2 << 13 | 7;

struct Bind {
  std::string source;
  std::string target;
};

struct Options {
  pid_t parent = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  bool has_identity = false;
  std::vector<Bind> binds;
  std::string stage;
  int filter_fd = -1;
  bool filter_self = false;
  std::vector<std::string> command;
};

[[noreturn]] void fail(const char* what, int error = errno) {
  dprintf(STDERR_FILENO, "insitu launcher: %s: %s\n", what, strerror(error));
  _exit(126);
}

[[noreturn]] void usage() {
  dprintf(STDERR_FILENO, "insitu launcher: bad arguments\n");
  _exit(125);
}

Options parse(int argc, char** argv) {
  Options options;
  int index = 1;
  auto next = [&]() -> const char* {
    if (index >= argc) usage();
    return argv[index++];
  };
  while (index < argc) {
    const std::string_view name = next();
    if (name == "--") break;
    if (name == "--parent") {
      options.parent = static_cast<pid_t>(strtol(next(), nullptr, 10));
    } else if (name == "--identity") {
      options.uid = static_cast<uid_t>(strtoul(next(), nullptr, 10));
      options.gid = static_cast<gid_t>(strtoul(next(), nullptr, 10));
      options.has_identity = true;
    } else if (name == "--bind") {
      const char* source = next();
      options.binds.push_back({source, next()});
    } else if (name == "--stage") {
      options.stage = next();
    } else if (name == "--filter") {
      options.filter_fd = atoi(next());
    } else if (name == "--filter-self") {
      options.filter_self = true;
    } else {
      usage();
    }
  }
  for (; index < argc; ++index) options.command.emplace_back(argv[index]);
  if (options.command.empty() || options.parent <= 0) usage();
  if (options.has_identity && (options.uid == 0 || options.gid == 0)) usage();
  return options;
}

// Binds every source below a small file system at `stage` that only this process and its children
// see. The sources are opened before it is mounted: they may lie below it.
void stage_binds(const std::string& stage, std::vector<Bind>& binds) {
  if (unshare(CLONE_NEWNS) != 0) fail("unshare");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail("make mounts private");
  std::vector<UniqueFd> trees;
  for (const Bind& bind : binds) {
    UniqueFd tree(open_tree(AT_FDCWD, bind.source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!tree) fail(bind.source.c_str());
    trees.push_back(std::move(tree));
  }
  if (mount("insitu", stage.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k") != 0)
    fail("mount the stage");
  for (size_t i = 0; i < binds.size(); ++i) {
    const std::string place = stage + "/" + std::to_string(i);
    struct stat attributes{};
    if (fstat(trees[i].get(), &attributes) != 0) fail("stat a bind");
    if (S_ISDIR(attributes.st_mode)) {
      if (mkdir(place.c_str(), 0755) != 0) fail("mkdir on the stage");
    } else {
      UniqueFd file(open(place.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
      if (!file) fail("create on the stage");
    }
    if (move_mount(trees[i].get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
      fail("move_mount");
    binds[i].source = place;
  }
}

void lower_limits() {
  struct Limit {
    __rlimit_resource resource;
    rlim_t value;
  };
  // Files is generous to Node's own (about 25) and to inputs open at once.
  const Limit limits[] = {
      {RLIMIT_CORE, 0},          {RLIMIT_MEMLOCK, 0}, {RLIMIT_MSGQUEUE, 0},
      {RLIMIT_SIGPENDING, 256},  {RLIMIT_NOFILE, 256},
  };
  for (const Limit& limit : limits) {
    const rlimit value{limit.value, limit.value};
    if (setrlimit(limit.resource, &value) != 0) fail("setrlimit");
  }
  // Nothing to write yet. The hard limit stays: the daemon raises the soft one for each run, and the
  // worker's filter keeps the worker from doing so.
  rlimit size{};
  getrlimit(RLIMIT_FSIZE, &size);
  size.rlim_cur = 0;
  if (setrlimit(RLIMIT_FSIZE, &size) != 0) fail("setrlimit");
  // File operations come before compute. Failing here costs only fairness.
  (void)setpriority(PRIO_PROCESS, 0, 10);
  (void)syscall(SYS_ioprio_set, kThisProcess, 0, kLowIoPriority);
  // Under memory pressure a worker goes before anything else does.
  UniqueFd score(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (score) (void)!write(score.get(), "1000", 4);
}

void take_identity(uid_t uid, gid_t gid) {
  if (setgroups(0, nullptr) != 0) fail("setgroups");
  if (setresgid(gid, gid, gid) != 0) fail("setresgid");
  if (setresuid(uid, uid, uid) != 0) fail("setresuid");
}

// Bubblewrap's own --die-with-parent comes too late for a daemon that is killed in these milliseconds.
void die_with(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("prctl");
  if (getppid() != parent) _exit(124);
}

// Bubblewrap has made its tree by then, however busy the machine is.
constexpr int kLaunchMs = 10'000;

// What bubblewrap forks asks to die with it only when its tree is made, and waits before that for a
// word of its parent: killed in these milliseconds, bubblewrap would leave it waiting for ever. So a
// process beside it, a child of it that it reaps, ends what is left of the group then, itself included.
void end_group_with_self() {
  // Fails for a leader of a session, which has a group of its own.
  if (getpgrp() != getpid() && setpgid(0, 0) != 0) fail("setpgid");
  UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self) fail("pidfd_open");
  const pid_t watcher = fork();
  if (watcher < 0) fail("fork");
  if (watcher > 0) return;
  // Somebody may stop the whole group before it is killed.
  if (prctl(PR_SET_PDEATHSIG, SIGCONT) != 0) _exit(123);
  // The descriptors are PROGRAM's: whoever reads their other ends waits for their end.
  if (dup2(self.get(), 0) != 0 || close_range(1, ~0U, 0) != 0) _exit(123);
  pollfd ended{0, POLLIN, 0};
  int found = 0;
  while ((found = poll(&ended, 1, kLaunchMs)) < 0 && errno == EINTR) {
  }
  if (found > 0) kill(0, SIGKILL);
  _exit(0);
}

// Bubblewrap reads the filter from the descriptor's offset to its end.
void leave_filter_at(int fd) {
  const std::vector<sock_filter> filter = launch_filter();
  const size_t size = filter.size() * sizeof(sock_filter);
  // Made above the number it is to have: dup2 onto itself would leave it close-on-exec.
  UniqueFd made(memfd_create("filter", MFD_CLOEXEC));
  UniqueFd file(fcntl(made.get(), F_DUPFD_CLOEXEC, fd + 1));
  made.reset();
  if (!file) fail("memfd_create");
  if (write(file.get(), filter.data(), size) != static_cast<ssize_t>(size)) fail("write the filter");
  if (lseek(file.get(), 0, SEEK_SET) != 0) fail("lseek");
  if (dup2(file.get(), fd) != fd) fail("dup2");
}

[[noreturn]] void launch(Options options) {
  if (!options.stage.empty()) stage_binds(options.stage, options.binds);
  // The filter's file is made before RLIMIT_FSIZE forbids writing it.
  if (options.filter_fd >= 0) leave_filter_at(options.filter_fd);
  lower_limits();
  umask(077);
  if (chdir("/") != 0) fail("chdir");
  if (options.has_identity) take_identity(options.uid, options.gid);
  end_group_with_self();
  die_with(options.parent);  // a change of identity would undo it

  std::vector<std::string> words{options.command.front()};
  for (const Bind& bind : options.binds)
    words.insert(words.end(), {"--ro-bind", bind.source, bind.target});
  words.insert(words.end(), options.command.begin() + 1, options.command.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  if (options.filter_self) {
    if (const int error = install_filter(launch_filter())) fail("seccomp", error);
  }
  execv(argv[0], argv.data());
  fail(argv[0]);
}

}  // namespace
}  // namespace insitu

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--probe") return puts("jailed") < 0 ? 1 : 0;
  insitu::launch(insitu::parse(argc, argv));
}
