#include "actors.h"

#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "observe.h"

namespace {

struct User {
  uid_t uid;
  gid_t gid;
  gid_t group;
};
constexpr std::array<User, 4> kUsers{{{0, 0, 0}, {3001, 3001, 3100}, {3002, 3100, 3002}, {0, 0, 0}}};

bool read_all(int fd, void* bytes, size_t size) {
  for (auto* at = static_cast<char*>(bytes); size > 0;) {
    const ssize_t got = ::read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool write_all(int fd, const void* bytes, size_t size) {
  return ::write(fd, bytes, size) == static_cast<ssize_t>(size);
}

// What docs/files.md lists as remaining.
bool tolerated(const std::string& kind, const std::string& left, const std::string& right) {
  // Our mounts are nodev, so a device (left by RENAME_WHITEOUT) opens on neither side, but for
  // different reasons: there is none of its number, or O_NOATIME is for its owner.
  return kind == "open" && (left == "ENXIO" || left == "EPERM") && right == "EACCES";
}

// Two ways in which a write drops more bits than on the backing filesystem (docs/files.md): root's,
// through a descriptor from before the file got its bits; and setgid without the right to execute,
// when a member of the file's group writes.
bool may_drop(mode_t left, mode_t right) {
  const mode_t dropped = left ^ right;
  if (!S_ISREG(left) || (right & dropped)) return false;
  return dropped == S_ISGID ? ::geteuid() == 0 || !(left & S_IXGRP)
                            : ::geteuid() == 0 && !(dropped & ~mode_t{06000});
}

// Makes the backing side equal where that is all; false when there was nothing to do.
bool drop_too(Side (&sides)[2], const Operation& op, const Observation& left, const Observation& right) {
  bool changed = false;
  const uid_t user = ::geteuid();
  for (size_t i = 0; i < left.items.size(); i += 1) {
    const mode_t mode = left.items[i].seen.st.st_mode, other = right.items[i].seen.st.st_mode;
    if (mode == other || !may_drop(mode, other)) continue;
    ::seteuid(0);
    ::fchdir(sides[0].root);
    const std::string& what = left.items[i].what;
    changed |= (what == "slot" || what == "new" ? ::fchmod(sides[0].files[op.slot], other & 07777)
                : what == "other slot" ? ::fchmod(sides[0].files[op.other_slot], other & 07777)
                                       : ::chmod(what.c_str(), other & 07777)) == 0;
    ::seteuid(user);
  }
  return changed;
}

std::optional<std::string> perform_on_both(Side (&sides)[2], const Operation& op) {
  std::string said[2], seen[2];
  Observation before[2], after[2];
  for (int i = 0; i < 2; i += 1) {
    // Somebody may have taken the right to search it.
    if (::fchdir(sides[i].root) < 0) {
      said[i] = outcome(-1);
      continue;
    }
    before[i] = observe(sides[i], op);
    said[i] = operation_kinds()[op.kind].perform(sides[i], op);
    after[i] = observe(sides[i], op);
    seen[i] = text_of(before[i], after[i]);
  }
  const std::string name = operation_kinds()[op.kind].name;
  if (seen[0] != seen[1] && after[0].items.size() == after[1].items.size() &&
      drop_too(sides, op, after[0], after[1])) {
    ::fchdir(sides[0].root);
    seen[0] = text_of(before[0], observe(sides[0], op));
  }
  if ((said[0] == said[1] || tolerated(name, said[0], said[1])) && seen[0] == seen[1]) return std::nullopt;
  return describe(op) + "\n  backing: " + said[0] + seen[0] + "\n  mount:   " + said[1] + seen[1];
}

[[noreturn]] void act(const User& user, Side (&sides)[2], int commands, int answers) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::umask(022);
  const gid_t groups[] = {user.group};
  if (::setgroups(1, groups) < 0 || ::setresgid(user.gid, user.gid, user.gid) < 0 ||
      ::setresuid(user.uid, user.uid, 0) < 0)
    std::_Exit(2);
  std::vector<Operation> turn;
  for (size_t count; read_all(commands, &count, sizeof count);) {
    turn.resize(count);
    if (!read_all(commands, turn.data(), count * sizeof turn[0])) break;
    int64_t index = -1;
    std::string text;
    for (size_t i = 0; i < count && index < 0; i += 1) {
      if (auto difference = perform_on_both(sides, turn[i])) {
        index = static_cast<int64_t>(i);
        text = *difference;
      }
    }
    const size_t size = text.size();
    if (!write_all(answers, &index, sizeof index) || !write_all(answers, &size, sizeof size) ||
        !write_all(answers, text.data(), size))
      break;
  }
  std::_Exit(0);
}

}  // namespace

Actors::Actors(const Settings& settings, const std::string& left, const std::string& right) {
  for (unsigned number = 0; number < settings.actors; number += 1) {
    int commands[2], answers[2];
    if (::pipe2(commands, O_CLOEXEC) < 0 || ::pipe2(answers, O_CLOEXEC) < 0) std::abort();
    Side sides[2];
    sides[0].holes = sides[1].holes = settings.holes;
    sides[0].root = ::open(left.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sides[1].root = ::open(right.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(commands[1]);
      ::close(answers[0]);
      for (const Actor& other : all_) {
        ::close(other.commands);
        ::close(other.answers);
      }
      act(kUsers[number % kUsers.size()], sides, commands[0], answers[1]);
    }
    ::close(sides[0].root);
    ::close(sides[1].root);
    ::close(commands[0]);
    ::close(answers[1]);
    all_.push_back({pid, commands[1], answers[0]});
  }
}

Actors::~Actors() {
  for (const Actor& actor : all_) {
    ::close(actor.commands);
    ::close(actor.answers);
  }
  for (const Actor& actor : all_) ::waitpid(actor.pid, nullptr, 0);
}

std::optional<Difference> Actors::perform(std::span<const Operation> turn) {
  const Actor& actor = all_[turn.front().actor];
  const size_t count = turn.size();
  int64_t index = -1;
  size_t size = 0;
  if (!write_all(actor.commands, &count, sizeof count) ||
      !write_all(actor.commands, turn.data(), turn.size_bytes()) ||
      !read_all(actor.answers, &index, sizeof index) || !read_all(actor.answers, &size, sizeof size))
    return Difference{0, "actor " + std::to_string(turn.front().actor) + " died during " +
                             describe(turn.front())};
  std::string text(size, '\0');
  read_all(actor.answers, text.data(), size);
  if (index < 0) return std::nullopt;
  return Difference{static_cast<size_t>(index), text};
}
