// Makes a copy of what somebody may be writing, as it was at one point in time; or says why it
// cannot. A process of its own: what is frozen thaws also when whoever asked is gone.
//
//   point_in_time image MOUNT IMAGE COPY MS      the file under a mounted filesystem
//   point_in_time directory SOURCE COPY MS       a tree, with everything in it
//
// COPY is made and must not be there. MS bounds the time for which writers wait (image) or for which
// a moment without any is sought (directory). Prints one line on how it was done and exits with 0;
// else says why in one line, leaves what was begun to its caller, and exits with 1.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "common/open_backing.h"
#include "common/unique_fd.h"
#include "volumes/tree_copy.h"

namespace {

using insitu::Refused;
using insitu::UniqueFd;
using Clock = std::chrono::steady_clock;

constexpr size_t kChunkBytes = 1 << 20;

[[noreturn]] void fail(const std::string& what, int error = errno) {
  throw Refused(what + ": " + std::strerror(error));
}

// Keeps a filesystem frozen while it lives, but never beyond the deadline or a request to end.
class Frozen {
 public:
  Frozen(int mount, std::chrono::milliseconds longest) : mount_(mount) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&signals, each);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    // First, so that the filesystem is never frozen without somebody who thaws it.
    watch_ = std::thread([this, signals, longest] {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(longest);
      const timespec limit{seconds.count(), (longest - seconds).count() * 1'000'000};
      if (::sigtimedwait(&signals, nullptr, &limit) == SIGUSR1) return;
      late_ = true;
      ::ioctl(mount_, FITHAW, 0);
    });
    if (::ioctl(mount, FIFREEZE, 0) == 0) {
      // It was called off while the filesystem was on its way to be frozen: thawing came too early.
      if (late_) ::ioctl(mount, FITHAW, 0);
      return;
    }
    const int error = errno;
    end();
    fail("writers cannot be held", error);
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  ~Frozen() { thaw(); }

  bool late() const { return late_; }

  void thaw() {
    if (!watch_.joinable()) return;
    end();
    if (!late_) ::ioctl(mount_, FITHAW, 0);
  }

 private:
  void end() {
    ::pthread_kill(watch_.native_handle(), SIGUSR1);
    watch_.join();
  }

  const int mount_;
  std::atomic<bool> late_ = false;
  std::thread watch_;
};

// Holes stay holes. False: it took too long.
bool copy_data(int from, int to, off_t size, const Frozen& frozen) {
  static std::array<char, kChunkBytes> buffer;
  if (::ftruncate(to, size) < 0) fail("make the copy");
  off_t at = 0;
  while (at < size) {
    at = ::lseek(from, at, SEEK_DATA);
    if (at < 0 && errno == ENXIO) return true;  // nothing but a hole is left
    if (at < 0) fail("read the image");
    off_t end = ::lseek(from, at, SEEK_HOLE);
    if (end < 0) end = size;
    while (at < end) {
      if (frozen.late()) return false;
      const auto wanted = static_cast<size_t>(std::min<off_t>(end - at, kChunkBytes));
      const ssize_t got = ::pread(from, buffer.data(), wanted, at);
      if (got < 0) fail("read the image");
      if (got == 0) return true;
      for (ssize_t done = 0; done < got;) {
        const ssize_t put = ::pwrite(to, buffer.data() + done, got - done, at + done);
        if (put < 0) fail("write the copy");
        done += put;
      }
      at += got;
    }
  }
  return true;
}

void copy_image(const char* mount, const char* image, const char* copy, long longest_ms) {
  const UniqueFd root(::open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) fail("open the mount");
  const UniqueFd from(::open(image, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!from) fail("open the image");
  const UniqueFd to(::open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to) fail("make the copy");
  struct stat attributes;
  if (::fstat(from.get(), &attributes) < 0) fail("look at the image");
  ::syncfs(root.get());  // what is written now is not written while they wait
  const auto begun = Clock::now();
  Frozen frozen(root.get(), std::chrono::milliseconds(longest_ms));
  const bool shared = ::ioctl(to.get(), FICLONE, from.get()) == 0;
  const bool whole = shared || copy_data(from.get(), to.get(), attributes.st_size, frozen);
  frozen.thaw();
  const auto held =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  if (!whole || frozen.late())
    throw Refused("it would hold writers for more than " + std::to_string(longest_ms) +
                  " ms, as this filesystem shares no blocks between files");
  if (::fsync(to.get()) < 0) fail("write the copy");
  std::printf("%s, writers held for %ld ms\n", shared ? "blocks shared" : "copied",
              static_cast<long>(held));
}

void copy_directory(const char* source, const char* copy, long longest_ms) {
  const UniqueFd place = insitu::open_backing(source);
  const UniqueFd from(place ? ::openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1);
  if (!from) fail("open the directory");
  const auto end = Clock::now() + std::chrono::milliseconds(longest_ms);
  std::string changed;
  for (unsigned tries = 1;; ++tries) {
    // Mapped pages that were stored to: the next store is seen again in the file's times.
    if (::syncfs(from.get()) < 0) fail("write back");
    if (::mkdir(copy, 0700) < 0) fail("make the copy");
    const UniqueFd to(::open(copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!to) fail("open the copy");
    insitu::TreeCopy tree(end);
    try {
      changed = tree.copy(from.get(), to.get());
    } catch (const insitu::OutOfTime&) {
      if (tries == 1) throw;
    }
    if (changed.empty()) {
      if (::syncfs(to.get()) < 0) fail("write the copy");
      std::printf("%zu files and directories, blocks shared, at try %u\n", tree.size(), tries);
      return;
    }
    if (Clock::now() >= end)
      throw Refused("it is written to all the time: \"" + changed + "\" changed at try " +
                    std::to_string(tries));
    insitu::remove_tree(AT_FDCWD, copy);
  }
}

long milliseconds(const char* text) {
  char* end = nullptr;
  const long ms = std::strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || ms <= 0 || ms > 600'000)
    throw Refused(std::string("no time in ms: ") + text);
  return ms;
}

}  // namespace

int main(int count, char** words) {
  try {
    const std::string what = count > 1 ? words[1] : "";
    if (what == "image" && count == 6)
      copy_image(words[2], words[3], words[4], milliseconds(words[5]));
    else if (what == "directory" && count == 5)
      copy_directory(words[2], words[3], milliseconds(words[4]));
    else
      throw Refused(
          "usage: point_in_time image MOUNT IMAGE COPY MS | directory SOURCE COPY MS");
  } catch (const std::exception& refused) {
    std::fprintf(stderr, "%s\n", refused.what());
    return 1;
  }
  return 0;
}
