// One file, worked on at random by several processes through several descriptors, against a model of
// its bytes in memory. Every operation is checked, and the whole file now and then.
//
//   exerciser FILE [--seed N] [--operations N] [--processes N] [--below FILE]
//
// `--below` names the same file in the backing directory: after fsync it must be the same there.
#include <fcntl.h>
#include <linux/falloc.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

namespace {

constexpr size_t kMostBytes = 300'000;
constexpr size_t kBlock = 4096;  // what direct I/O is aligned to
constexpr size_t kWholeEvery = 200;
constexpr size_t kMostProcesses = 8;

// Shared by the processes, which take turns: operation i is the turn of a process that i decides.
struct Model {
  sem_t turns[kMostProcesses];
  size_t size = 0;
  bool failed = false;
  char bytes[kMostBytes + kBlock];
};

struct Settings {
  std::string file;
  std::string below;
  uint64_t seed = 1;
  size_t operations = 10'000;
  size_t processes = 3;
};

class Exerciser {
 public:
  Exerciser(Model& model, const Settings& settings) : model_(model), settings_(settings) {
    reopen();
  }

  void perform(size_t number) {
    number_ = number;
    random_.seed(settings_.seed * 0x9E3779B97F4A7C15u + number);
    static constexpr struct {
      const char* name;
      unsigned weight;
      void (Exerciser::*run)();
    } kKinds[] = {
        {"read", 10, &Exerciser::read},         {"write", 14, &Exerciser::write},
        {"direct read", 4, &Exerciser::direct_read}, {"direct write", 5, &Exerciser::direct_write},
        {"append", 3, &Exerciser::append},      {"mapped read", 10, &Exerciser::mapped_read},
        {"mapped write", 12, &Exerciser::mapped_write}, {"truncate", 8, &Exerciser::truncate},
        {"fallocate", 8, &Exerciser::allocate}, {"copy", 4, &Exerciser::copy},
        {"seek", 5, &Exerciser::seek},          {"fsync", 2, &Exerciser::sync},
        {"reopen", 2, &Exerciser::reopen},      {"map anew", 2, &Exerciser::map_anew},
    };
    unsigned total = 0;
    for (const auto& kind : kKinds) total += kind.weight;
    unsigned pick = static_cast<unsigned>(below(total));
    for (const auto& kind : kKinds) {
      if (pick < kind.weight) {
        name_ = kind.name;
        (this->*kind.run)();
        break;
      }
      pick -= kind.weight;
    }
    check_size();
    if (number % kWholeEvery == kWholeEvery - 1) check_whole();
  }

 private:
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }

  [[noreturn]] void fail(const char* what, int64_t expected, int64_t found) {
    std::printf("seed %llu, operation %zu (%s, process %d, offset %zu, length %zu, size %zu): %s: expected %lld, found %lld\n",
                static_cast<unsigned long long>(settings_.seed), number_, name_, getpid(), offset_,
                length_, model_.size, what, static_cast<long long>(expected),
                static_cast<long long>(found));
    std::fflush(stdout);
    model_.failed = true;
    std::_Exit(1);
  }
  void want(const char* what, int64_t expected, int64_t found) {
    if (expected != found) fail(what, expected, found < 0 ? -errno : found);
  }
  void compare(const char* what, const char* bytes, size_t offset, size_t length) {
    if (std::memcmp(bytes, model_.bytes + offset, length) == 0) return;
    for (size_t i = 0; i < length; i += 1)
      if (bytes[i] != model_.bytes[offset + i]) {
        std::printf("byte %zu: ", offset + i);
        fail(what, static_cast<unsigned char>(model_.bytes[offset + i]),
             static_cast<unsigned char>(bytes[i]));
      }
  }

  // A span within the file, empty when that is.
  void inside() {
    offset_ = below(model_.size);
    length_ = std::min<size_t>(1 + below(below(3) ? 8'000 : 90'000), model_.size - offset_);
  }
  // A span that may reach beyond the end.
  void anywhere() {
    offset_ = below(8) ? below(model_.size + 5'000) : below(kMostBytes);
    offset_ = std::min(offset_, kMostBytes - 1);
    length_ = std::min<size_t>(1 + below(below(3) ? 8'000 : 90'000), kMostBytes - offset_);
  }
  void align() {
    offset_ &= ~(kBlock - 1);
    length_ = std::min((length_ + kBlock) & ~(kBlock - 1), (kMostBytes - offset_) & ~(kBlock - 1));
  }
  const char* fresh_bytes() {
    const uint64_t start = random_();
    for (size_t i = 0; i < length_; i += 1)
      buffer_[i] = static_cast<char>(1 + (start + i + (i >> 7)) % 255);
    return buffer_;
  }
  void grow_to(size_t size) {
    if (size <= model_.size) return;
    std::memset(model_.bytes + model_.size, 0, size - model_.size);
    model_.size = size;
  }
  void wrote(size_t offset, size_t length) {
    grow_to(offset + length);
    std::memcpy(model_.bytes + offset, buffer_, length);
  }

  void read() {
    anywhere();
    const size_t there = offset_ < model_.size ? std::min(length_, model_.size - offset_) : 0;
    const int fd = below(2) ? buffered_ : reader_;
    want("bytes read", static_cast<int64_t>(there), ::pread(fd, buffer_, length_, static_cast<off_t>(offset_)));
    compare("read", buffer_, offset_, there);
  }
  void write() {
    anywhere();
    fresh_bytes();
    want("bytes written", static_cast<int64_t>(length_),
         ::pwrite(buffered_, buffer_, length_, static_cast<off_t>(offset_)));
    wrote(offset_, length_);
  }
  void direct_read() {
    anywhere();
    align();
    const size_t there = offset_ < model_.size ? std::min(length_, model_.size - offset_) : 0;
    const ssize_t got = ::pread(direct_, buffer_, length_, static_cast<off_t>(offset_));
    want("bytes read directly", static_cast<int64_t>(there), got);
    compare("direct read", buffer_, offset_, there);
  }
  void direct_write() {
    anywhere();
    align();
    if (length_ == 0) return;
    fresh_bytes();
    want("bytes written directly", static_cast<int64_t>(length_),
         ::pwrite(direct_, buffer_, length_, static_cast<off_t>(offset_)));
    wrote(offset_, length_);
  }
  void append() {
    length_ = std::min<size_t>(1 + below(3'000), kMostBytes - model_.size);
    offset_ = model_.size;
    fresh_bytes();
    want("bytes appended", static_cast<int64_t>(length_), ::write(appender_, buffer_, length_));
    wrote(offset_, length_);
  }
  void mapped_read() {
    inside();
    compare("mapping", map_ + offset_, offset_, length_);
  }
  void mapped_write() {
    inside();
    fresh_bytes();
    std::memcpy(map_ + offset_, buffer_, length_);
    if (length_ > 0) std::memcpy(model_.bytes + offset_, buffer_, length_);
    const size_t start = offset_ & ~(kBlock - 1);
    if (below(2)) want("msync", 0, ::msync(map_ + start, offset_ + length_ - start, MS_SYNC));
  }
  void truncate() {
    offset_ = below(5) ? below(model_.size + 20'000) : below(kMostBytes);
    offset_ = std::min(offset_, kMostBytes);
    length_ = 0;
    const auto size = static_cast<off_t>(offset_);
    want("truncate", 0,
         below(2) ? ::ftruncate(buffered_, size) : ::truncate(settings_.file.c_str(), size));
    grow_to(offset_);
    model_.size = offset_;
  }
  void allocate() {
    anywhere();
    static constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    const int mode = kModes[below(std::size(kModes))];
    const int done = ::fallocate(buffered_, mode, static_cast<off_t>(offset_), static_cast<off_t>(length_));
    // Not every backing filesystem can zero a range.
    if (done < 0 && errno == EOPNOTSUPP && (mode & FALLOC_FL_ZERO_RANGE)) return;
    want("fallocate", 0, done);
    if (!(mode & FALLOC_FL_KEEP_SIZE)) grow_to(offset_ + length_);
    if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) || offset_ >= model_.size) return;
    std::memset(model_.bytes + offset_, 0, std::min(length_, model_.size - offset_));
  }
  void copy() {
    inside();
    auto to = static_cast<loff_t>(offset_ + length_ + below(10'000));
    auto from = static_cast<loff_t>(offset_);
    if (length_ == 0 || static_cast<size_t>(to) + length_ > kMostBytes) return;
    while (length_ > 0) {
      const ssize_t copied = ::copy_file_range(buffered_, &from, buffered_, &to, length_, 0);
      if (copied <= 0) fail("copy_file_range", static_cast<int64_t>(length_), copied < 0 ? -errno : 0);
      const size_t start = static_cast<size_t>(to) - static_cast<size_t>(copied);
      std::memcpy(buffer_, model_.bytes + from - copied, static_cast<size_t>(copied));
      wrote(start, static_cast<size_t>(copied));
      length_ -= static_cast<size_t>(copied);
    }
  }
  // What a hole is, is the filesystem's business; but all bytes in it are zero.
  void seek() {
    inside();
    if (length_ == 0) return;
    const off_t data = ::lseek(buffered_, static_cast<off_t>(offset_), SEEK_DATA);
    if (data < 0 && errno != ENXIO) fail("SEEK_DATA", 0, -errno);
    const size_t end = data < 0 ? model_.size : static_cast<size_t>(data);
    for (size_t i = offset_; i < end; i += 1)
      if (model_.bytes[i] != 0) fail("SEEK_DATA passed over data", static_cast<int64_t>(i), data);
    const off_t hole = ::lseek(buffered_, static_cast<off_t>(offset_), SEEK_HOLE);
    if (hole < static_cast<off_t>(offset_) || hole > static_cast<off_t>(model_.size))
      fail("SEEK_HOLE", static_cast<int64_t>(model_.size), hole < 0 ? -errno : hole);
  }
  void sync() {
    want("fsync", 0, below(2) ? ::fsync(buffered_) : ::fdatasync(direct_));
    if (settings_.below.empty()) return;
    // Stores of other processes' mappings may not be written out by a direct descriptor's sync.
    want("fsync", 0, ::fsync(buffered_));
    const int fd = ::open(settings_.below.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = ::pread(fd, buffer_, sizeof buffer_, 0);
    ::close(fd);
    want("size below", static_cast<int64_t>(model_.size), got);
    compare("below", buffer_, 0, model_.size);
  }
  void reopen() {
    const auto again = [&](int& fd, int flags) {
      if (fd >= 0) ::close(fd);
      fd = ::open(settings_.file.c_str(), flags | O_CLOEXEC);
      if (fd < 0) fail("open", 0, -errno);
    };
    // In any order, and some stay open: no mode of I/O may keep another from being opened.
    if (buffered_ < 0 || below(2)) again(buffered_, O_RDWR);
    if (direct_ < 0 || below(2)) again(direct_, O_RDWR | O_DIRECT);
    if (reader_ < 0 || below(2)) again(reader_, O_RDONLY);
    if (appender_ < 0 || below(2)) again(appender_, O_WRONLY | O_APPEND);
    if (map_ == nullptr) map_anew();
  }
  void map_anew() {
    if (map_ != nullptr) ::munmap(map_, kMostBytes);
    void* const map = ::mmap(nullptr, kMostBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                             below(3) ? buffered_ : direct_, 0);
    if (map == MAP_FAILED) fail("mmap", 0, -errno);
    map_ = static_cast<char*>(map);
  }

  void check_size() {
    struct stat st;
    want("fstat", 0, ::fstat(reader_, &st));
    want("size of the descriptor", static_cast<int64_t>(model_.size), st.st_size);
    want("stat", 0, ::stat(settings_.file.c_str(), &st));
    want("size of the path", static_cast<int64_t>(model_.size), st.st_size);
  }
  void check_whole() {
    name_ = "whole file";
    want("size", static_cast<int64_t>(model_.size), ::pread(reader_, buffer_, sizeof buffer_, 0));
    compare("whole file", buffer_, 0, model_.size);
    compare("whole mapping", map_, 0, model_.size);
  }

  Model& model_;
  const Settings& settings_;
  std::mt19937_64 random_;
  size_t number_ = 0;
  const char* name_ = "start";
  size_t offset_ = 0;
  size_t length_ = 0;
  int buffered_ = -1, direct_ = -1, reader_ = -1, appender_ = -1;
  char* map_ = nullptr;
  alignas(4096) char buffer_[kMostBytes + 2 * kBlock];
};

size_t process_of(const Settings& settings, size_t number) {
  return std::mt19937_64(settings.seed + number * 7919)() % settings.processes;
}

void work(Model& model, const Settings& settings, size_t process) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto* const exerciser = new Exerciser(model, settings);
  for (size_t number = 0; number < settings.operations; number += 1) {
    if (process_of(settings, number) != process) continue;
    // The turn comes with the end of the operation before.
    while (::sem_wait(&model.turns[process]) < 0) {
    }
    if (model.failed) std::_Exit(1);
    exerciser->perform(number);
    if (number + 1 < settings.operations) ::sem_post(&model.turns[process_of(settings, number + 1)]);
  }
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (argc < 2) {
    std::fprintf(stderr, "usage: exerciser FILE [--seed N] [--operations N] [--processes N] [--below FILE]\n");
    return 2;
  }
  settings.file = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--below") settings.below = argv[i + 1];
    const auto number = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--seed") settings.seed = number;
    if (option == "--operations") settings.operations = number;
    if (option == "--processes") settings.processes = std::clamp<size_t>(number, 1, kMostProcesses);
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(settings.seed));
  std::fflush(stdout);
  const int fd = ::open(settings.file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    std::perror("open");
    return 1;
  }
  ::close(fd);
  auto* const model = new (::mmap(nullptr, sizeof(Model), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Model;
  for (auto& turn : model->turns) ::sem_init(&turn, 1, 0);
  ::sem_post(&model->turns[process_of(settings, 0)]);
  for (size_t process = 0; process < settings.processes; process += 1)
    if (::fork() == 0) work(*model, settings, process);
  int failed = 0, status = 0;
  while (::wait(&status) > 0) {
    if (status == 0) continue;
    if (WIFSIGNALED(status) && !model->failed) std::printf("killed by signal %d\n", WTERMSIG(status));
    failed += 1;
    model->failed = true;
    // Nobody waits for a turn that never comes.
    for (auto& turn : model->turns) ::sem_post(&turn);
  }
  std::printf("%zu operations, %s\n", settings.operations, failed ? "failed" : "fine");
  return failed ? 1 : 0;
}
