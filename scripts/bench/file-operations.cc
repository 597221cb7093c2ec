// Times one kind of file operation in a directory and prints `row<TAB>operations or MiB a second`.
// The driver runs it on the backing directory and on the mount in turns and compares.
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

namespace {

constexpr size_t kMiB = 1 << 20;
constexpr size_t kFileMiB = 256;
constexpr double kSeconds = 0.7;  // long enough for thousands of operations, short enough for turns

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

int must(const char* what, int result) {
  if (result < 0) fail(what);
  return result;
}

uint64_t random_state = 88172645463325252u;
uint64_t random_next() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

// Repeats `operation` for a while; a second of wall time is the unit.
void rate(const char* row, const std::function<void(long)>& operation, double scale = 1) {
  const double start = now();
  long count = 0;
  double elapsed;
  do {
    for (int i = 0; i < 16; i += 1) operation(count++);
    elapsed = now() - start;
  } while (elapsed < kSeconds);
  printf("%s\t%.1f\n", row, static_cast<double>(count) * scale / elapsed);
}

std::string numbered(const char* prefix, long i) { return prefix + std::to_string(i); }

void big_file(const char* name) {
  const int fd = must("create", open(name, O_CREAT | O_RDWR | O_TRUNC, 0644));
  std::vector<char> block(kMiB, 'x');
  for (size_t i = 0; i < kFileMiB; i += 1) must("write", static_cast<int>(write(fd, block.data(), kMiB)));
  close(fd);
}

void sequential_write() {
  std::vector<char> block(kMiB, 'w');
  const int fd = must("create", open("seq", O_CREAT | O_RDWR | O_TRUNC, 0644));
  const double start = now();
  for (size_t i = 0; i < kFileMiB; i += 1) must("write", static_cast<int>(write(fd, block.data(), kMiB)));
  printf("sequential write\t%.1f\n", kFileMiB / (now() - start));
  close(fd);
}

void sequential_read() {
  big_file("big");
  std::vector<char> block(kMiB);
  double best = 0;
  for (int round = 0; round < 3; round += 1) {
    const int fd = must("open", open("big", O_RDONLY));
    const double start = now();
    while (read(fd, block.data(), kMiB) > 0) {
    }
    const double speed = kFileMiB / (now() - start);
    if (speed > best) best = speed;
    close(fd);
  }
  printf("sequential read\t%.1f\n", best);
}

void random_io(bool writing, bool direct) {
  big_file("big");
  const int fd = must("open", open("big", O_RDWR | (direct ? O_DIRECT : 0)));
  void* buffer = nullptr;
  if (posix_memalign(&buffer, 4096, 4096) != 0) fail("memory");
  memset(buffer, 'r', 4096);
  const std::string row = std::string(direct ? "4K direct " : "4K random ") + (writing ? "write" : "read");
  rate(row.c_str(), [&](long) {
    const off_t at = static_cast<off_t>(random_next() % (kFileMiB * 256)) * 4096;
    const ssize_t n = writing ? pwrite(fd, buffer, 4096, at) : pread(fd, buffer, 4096, at);
    if (n != 4096) fail("4K");
  });
  close(fd);
}

void mapped_read() {
  big_file("big");
  const int fd = must("open", open("big", O_RDONLY));
  volatile uint64_t sum = 0;
  const double start = now();
  for (int round = 0; round < 4; round += 1) {
    const char* map = static_cast<const char*>(
        mmap(nullptr, kFileMiB * kMiB, PROT_READ, MAP_SHARED, fd, 0));
    if (map == MAP_FAILED) fail("mmap");
    for (size_t i = 0; i < kFileMiB * kMiB; i += 512) sum = sum + static_cast<unsigned char>(map[i]);
    munmap(const_cast<char*>(map), kFileMiB * kMiB);
  }
  printf("mmap read\t%.1f\n", 4 * kFileMiB / (now() - start));
  close(fd);
}

void many_files(const char* dir, long count) {
  mkdir(dir, 0755);
  for (long i = 0; i < count; i += 1) {
    const int fd = must("create", open(numbered((std::string(dir) + "/f").c_str(), i).c_str(),
                                       O_CREAT | O_WRONLY, 0644));
    must("write", static_cast<int>(write(fd, "0123456789", 10)));
    close(fd);
  }
}

void stat_warm() {
  many_files("s", 1000);
  struct stat st;
  std::vector<std::string> names;
  for (long i = 0; i < 1000; i += 1) names.push_back(numbered("s/f", i));
  for (const auto& name : names) must("stat", stat(name.c_str(), &st));
  rate("stat warm", [&](long i) { must("stat", stat(names[static_cast<size_t>(i % 1000)].c_str(), &st)); });
}

void stat_missing() {
  struct stat st;
  rate("stat missing", [&](long i) { stat(i % 2 == 0 ? "none-a" : "none-b", &st); });
}

void list(long count) {
  const std::string dir = numbered("l", count);
  many_files(dir.c_str(), count);
  rate(numbered("readdir+stat of ", count).c_str(), [&](long) {
    DIR* d = opendir(dir.c_str());
    struct stat st;
    while (const dirent* entry = readdir(d)) fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
    closedir(d);
  }, static_cast<double>(count));
}

void create_and_unlink() {
  mkdir("c", 0755);
  long made = 0;
  rate("create", [&](long i) {
    close(must("create", open(numbered("c/n", i).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644)));
    made = i + 1;
  });
  const double start = now();
  for (long i = 0; i < made; i += 1) must("unlink", unlink(numbered("c/n", i).c_str()));
  printf("unlink\t%.1f\n", static_cast<double>(made) / (now() - start));
}

void rename_back_and_forth() {
  close(must("create", open("r0", O_CREAT | O_WRONLY, 0644)));
  rate("rename", [](long i) { must("rename", rename(i % 2 == 0 ? "r0" : "r1", i % 2 == 0 ? "r1" : "r0")); });
}

void open_read_close() {
  many_files("o", 100);
  char buffer[4096];
  rate("open+read+close", [&](long i) {
    const int fd = must("open", open(numbered("o/f", i % 100).c_str(), O_RDONLY));
    if (read(fd, buffer, sizeof buffer) < 0) fail("read");
    close(fd);
  });
}

void copy_tree() {
  many_files("t", 500);
  const double start = now();
  if (system("cp -r t t2") != 0) fail("cp");
  printf("copy of a small-file tree\t%.1f\n", 500 / (now() - start));
  if (system("rm -r t t2") != 0) fail("rm");
}

void four_at_once() {
  many_files("p", 100);
  const double start = now();
  for (int p = 0; p < 4; p += 1) {
    if (fork() == 0) {
      char buffer[4096];
      for (long i = 0; i < 2000; i += 1) {
        const int fd = must("open", open(numbered("p/f", i % 100).c_str(), O_RDONLY));
        if (read(fd, buffer, sizeof buffer) < 0) _exit(1);
        close(fd);
      }
      _exit(0);
    }
  }
  while (wait(nullptr) > 0) {
  }
  printf("open+read+close, four processes\t%.1f\n", 8000 / (now() - start));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || chdir(argv[1]) < 0) {
    fprintf(stderr, "usage: file-operations DIRECTORY ROWS\n");
    return 2;
  }
  const std::string rows = argv[2];
  if (rows == "sequential") sequential_write(), sequential_read();
  if (rows == "random") random_io(false, false), random_io(true, false);
  if (rows == "direct") random_io(false, true), random_io(true, true);
  if (rows == "mmap") mapped_read();
  if (rows == "stat") stat_warm(), stat_missing();
  if (rows == "list") list(10), list(1000), list(20000);
  if (rows == "names") create_and_unlink(), rename_back_and_forth();
  if (rows == "open") open_read_close(), four_at_once();
  if (rows == "tree") copy_tree();
  return 0;
}
