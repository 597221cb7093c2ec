// Times one kind of file operation and prints `row<TAB>operations or MiB a second`. The driver
// (files.ts) runs it on the backing directory and on mounts of it in turns, and compares.
//
//   file-operations ROW SECONDS DATA WORK COUNT [SECOND_DATA]
//   file-operations fill DIRECTORY COUNT BYTES
//
// DATA holds what is only read: `big`, `tree`, `repo`, and for each COUNT a directory `nCOUNT` of
// files; in `growCOUNT` names come and go. WORK is this place's own, to write in.
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
#include <map>
#include <string>
#include <vector>

namespace {

constexpr size_t kMiB = 1 << 20;
constexpr size_t kPage = 4096;
constexpr size_t kWrittenMiB = 64;
// As many names as a cold pass looks at, and as a warm one repeats within a second.
constexpr long kMostNames = 2'000;

double seconds;
std::string data, work, second_data;
long count;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

int must(const char* what, long result) {
  if (result < 0) fail(what);
  return static_cast<int>(result);
}

uint64_t random_state = 88172645463325252u;
uint64_t random_next() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

// At once: what comes after may fail.
void tell(const char* row, double rate) {
  printf("%s\t%.2f\n", row, rate);
  fflush(stdout);
}

// Repeats `operation` for a while; operations a second. The clock is read every `batch`.
double rate(double limit, long batch, const std::function<void(long)>& operation) {
  const double start = now();
  long done = 0;
  double elapsed;
  do {
    for (long i = 0; i < batch; i += 1) operation(done++);
    elapsed = now() - start;
  } while (elapsed < limit);
  return static_cast<double>(done) / elapsed;
}

// The first tenth is to warm up.
double warm_rate(long batch, const std::function<void(long)>& operation) {
  rate(seconds / 10, batch, operation);
  return rate(seconds, batch, operation);
}

std::string in_directory(const std::string& directory, long i) {
  return directory + "/f" + std::to_string(i);
}

void fill(const std::string& directory, long files, size_t bytes) {
  if (mkdir(directory.c_str(), 0755) < 0 && access(directory.c_str(), W_OK) < 0) fail("mkdir");
  const std::vector<char> content(bytes, 'x');
  for (long i = 0; i < files; i += 1) {
    const int fd = must("create", open(in_directory(directory, i).c_str(), O_CREAT | O_WRONLY, 0644));
    if (bytes > 0) must("write", write(fd, content.data(), bytes));
    close(fd);
  }
}

std::vector<std::string> names(const std::string& directory) {
  std::vector<std::string> out;
  const long step = count > kMostNames ? count / kMostNames : 1;
  for (long i = 0; i < count; i += step) out.push_back(in_directory(directory, i));
  return out;
}

std::string counted(const std::string& directory, const char* prefix) {
  return directory + "/" + prefix + std::to_string(count);
}

void sequential_write() {
  const std::vector<char> block(kMiB, 'w');
  const std::string path = work + "/sequential";
  const double blocks = rate(seconds, kWrittenMiB, [&](long i) {
    static int fd = -1;
    if (i % kWrittenMiB == 0) {
      if (fd >= 0) close(fd);
      unlink(path.c_str());
      fd = must("create", open(path.c_str(), O_CREAT | O_RDWR | O_TRUNC, 0644));
    }
    must("write", write(fd, block.data(), kMiB));
  });
  unlink(path.c_str());
  tell("sequential write", blocks);
}

void sequential_read() {
  std::vector<char> block(kMiB);
  const int fd = must("open", open((data + "/big").c_str(), O_RDONLY));
  while (must("read", read(fd, block.data(), kMiB)) > 0) {
  }
  tell("sequential read", rate(seconds, 1, [&](long) {
         if (must("read", read(fd, block.data(), kMiB)) > 0) return;
         lseek(fd, 0, SEEK_SET);
         must("read", read(fd, block.data(), kMiB));
       }));
}

void random_io(bool direct) {
  void* buffer = nullptr;
  if (posix_memalign(&buffer, kPage, kPage) != 0) fail("memory");
  memset(buffer, 'r', kPage);
  const int flags = direct ? O_DIRECT : 0;
  const int in = must("open", open((data + "/big").c_str(), O_RDONLY | flags));
  const uint64_t pages = static_cast<uint64_t>(lseek(in, 0, SEEK_END)) / kPage;
  if (!direct)  // warm
    for (uint64_t i = 0; i < pages; i += 1) must("read", pread(in, buffer, kPage, static_cast<off_t>(i * kPage)));
  tell(direct ? "4K random read, direct" : "4K random read", warm_rate(16, [&](long) {
         const off_t at = static_cast<off_t>(random_next() % pages * kPage);
         if (pread(in, buffer, kPage, at) != static_cast<ssize_t>(kPage)) fail("4K read");
       }));
  close(in);

  const std::string path = work + "/random";
  const int out = must("create", open(path.c_str(), O_CREAT | O_RDWR, 0644));
  struct stat attributes;
  must("stat", fstat(out, &attributes));
  const uint64_t size = kWrittenMiB * kMiB;
  if (static_cast<uint64_t>(attributes.st_size) < size) {
    const std::vector<char> block(kMiB, 'w');
    for (size_t i = 0; i < kWrittenMiB; i += 1) must("write", write(out, block.data(), kMiB));
    fsync(out);
  }
  close(out);
  const int writing = must("open", open(path.c_str(), O_RDWR | flags));
  tell(direct ? "4K random write, direct" : "4K random write", warm_rate(16, [&](long) {
         const off_t at = static_cast<off_t>(random_next() % (size / kPage) * kPage);
         if (pwrite(writing, buffer, kPage, at) != static_cast<ssize_t>(kPage)) fail("4K write");
       }));
  close(writing);
}

void mapped_read() {
  const int fd = must("open", open((data + "/big").c_str(), O_RDONLY));
  const size_t size = static_cast<size_t>(lseek(fd, 0, SEEK_END));
  volatile uint64_t sum = 0;
  const auto pass = [&](long) {
    const char* map = static_cast<const char*>(mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0));
    if (map == MAP_FAILED) fail("mmap");
    for (size_t i = 0; i < size; i += 512) sum = sum + static_cast<unsigned char>(map[i]);
    munmap(const_cast<char*>(map), size);
  };
  pass(0);
  tell("mmap read", rate(seconds, 1, pass) * static_cast<double>(size / kMiB));
  close(fd);
}

void stat_warm() {
  struct stat st;
  const auto all = names(counted(data, "n"));
  tell("stat, warm", warm_rate(16, [&](long i) {
         must("stat", stat(all[static_cast<size_t>(i) % all.size()].c_str(), &st));
       }));
}

void stat_missing() {
  struct stat st;
  const std::string a = data + "/none-a", b = data + "/none-b";
  tell("stat, missing", warm_rate(16, [&](long i) { stat((i % 2 == 0 ? a : b).c_str(), &st); }));
}

// Neither ours nor the backing filesystem's entries are in the kernel's cache.
void stat_cold() {
  struct stat st;
  const auto all = names(counted(data, "n"));
  double spent = 0;
  const int passes = all.size() < 100 ? 5 : 1;
  for (int pass = 0; pass < passes; pass += 1) {
    const int fd = must("drop_caches", open("/proc/sys/vm/drop_caches", O_WRONLY));
    must("drop_caches", write(fd, "2", 1));
    close(fd);
    const double start = now();
    for (const auto& name : all) must("stat", stat(name.c_str(), &st));
    spent += now() - start;
  }
  tell("stat, cold", static_cast<double>(all.size()) * passes / spent);
}

void list() {
  const std::string directory = counted(data, "n");
  const auto pass = [&](long) {
    DIR* const d = opendir(directory.c_str());
    if (!d) fail("opendir");
    struct stat st;
    while (const dirent* entry = readdir(d))
      must("stat", fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW));
    closedir(d);
  };
  tell("readdir + stat", rate(seconds, 1, pass) * static_cast<double>(count));
}

void names_come_and_go() {
  // Several places have names in the one directory.
  const std::string prefix = counted(data, "grow") + "/" + work.substr(work.rfind('/') + 1) + "-";
  const auto name = [&](long i) { return prefix + std::to_string(i); };
  long made = 0;
  tell("create", rate(seconds, 8, [&](long i) {
         close(must("create", open(name(i).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644)));
         made = i + 1;
       }));
  const std::string other = prefix + "renamed";
  const std::string first = name(0);
  long renamed = 0;
  tell("rename", rate(seconds / 2, 8, [&](long i) {
         const bool there = i % 2 == 0;
         must("rename", rename((there ? first : other).c_str(), (there ? other : first).c_str()));
         renamed = i + 1;
       }));
  if (renamed % 2 == 1) must("rename", rename(other.c_str(), first.c_str()));
  const double start = now();
  for (long i = 0; i < made; i += 1) must("unlink", unlink(name(i).c_str()));
  tell("unlink", static_cast<double>(made) / (now() - start));
}

void open_read_close(const std::string& path) {
  char buffer[kPage];
  const int fd = must("open", open(path.c_str(), O_RDONLY));
  if (read(fd, buffer, sizeof buffer) != static_cast<ssize_t>(sizeof buffer)) fail("read");
  close(fd);
}

void open_row() {
  const auto all = names(counted(data, "n"));
  tell("open + read 4K + close",
       warm_rate(8, [&](long i) { open_read_close(all[static_cast<size_t>(i) % all.size()]); }));
}

// One process for each directory, all at once; the sum of their rates.
void at_once(const char* row, const std::vector<std::string>& directories) {
  auto* const rates = static_cast<double*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
                                                MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (size_t p = 0; p < directories.size(); p += 1) {
    if (fork() != 0) continue;
    const auto all = names(directories[p]);
    rates[p] = warm_rate(8, [&](long i) {
      open_read_close(all[(static_cast<size_t>(i) + p * 7) % all.size()]);
    });
    _exit(0);
  }
  int status;
  while (wait(&status) > 0)
    if (status != 0) exit(1);
  double sum = 0;
  for (size_t p = 0; p < directories.size(); p += 1) sum += rates[p];
  tell(row, sum);
}

void four_at_once() { at_once("open + read + close, 4 processes", std::vector(4, counted(data, "n"))); }

void two_mounts() {
  at_once("open + read + close, 2 mounts at once",
          {counted(data, "n"), counted(second_data, "n")});
}

double seconds_of(const std::vector<const char*>& command) {
  const double start = now();
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> arguments;
    for (const char* word : command) arguments.push_back(const_cast<char*>(word));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 1;
  waitpid(child, &status, 0);
  if (status != 0) fail(command[0]);
  return now() - start;
}

void copy_tree() {
  const std::string from = data + "/tree", to = work + "/copy";
  tell("copy of a small-file tree", static_cast<double>(count) / seconds_of({"cp", "-r", from.c_str(), to.c_str()}));
  seconds_of({"rm", "-r", to.c_str()});
}

// The index is this place's own: it holds the inode numbers that are seen here.
void git_status() {
  setenv("GIT_INDEX_FILE", (work + "/index").c_str(), 1);
  setenv("GIT_OPTIONAL_LOCKS", "0", 1);
  const std::string repository = data + "/repo";
  tell("git status", 1 / seconds_of({"git", "-C", repository.c_str(), "status", "--porcelain"}));
}

const std::map<std::string, void (*)()> kRows{
    {"write", sequential_write},
    {"read", sequential_read},
    {"random", [] { random_io(false); }},
    {"direct", [] { random_io(true); }},
    {"mmap", mapped_read},
    {"warm", stat_warm},
    {"missing", stat_missing},
    {"cold", stat_cold},
    {"list", list},
    {"names", names_come_and_go},
    {"open", open_row},
    {"four", four_at_once},
    {"two", two_mounts},
    {"copy", copy_tree},
    {"git", git_status},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "fill") {
    fill(argv[2], atol(argv[3]), static_cast<size_t>(atol(argv[4])));
    return 0;
  }
  const auto row = kRows.find(argc > 1 ? argv[1] : "");
  if (argc < 6 || row == kRows.end()) {
    fprintf(stderr, "usage: file-operations ROW SECONDS DATA WORK COUNT [SECOND_DATA]\n");
    return 2;
  }
  seconds = atof(argv[2]);
  data = argv[3];
  work = argv[4];
  count = atol(argv[5]);
  second_data = argc > 6 ? argv[6] : data;
  row->second();
  return 0;
}
