// Random operations over two directories side by side: what a program sees must be the same.
//
//   differential BACKING MOUNT [--seed N] [--operations N] [--actors N] [--workers N]
//                [--without-holes]
//
// Actors share names and take turns; workers run at the same time, each in directories of its own.
// Ends with 1 and the shortest sequence that it finds when there is a difference.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "actors.h"
#include "observe.h"

namespace {

// A fresh tree after so many: what is wrong shows early in a tree, and shrinks sooner.
constexpr size_t kRoundOperations = 2'500;
constexpr size_t kTreeEvery = 500;
// Minimising stops here, with what it has.
constexpr int kMostReplays = 600;
constexpr auto kMostReplayTime = std::chrono::seconds(60);

struct Places {
  std::string left;
  std::string right;
};

class Rooms {
 public:
  Rooms(const Places& places, const std::string& name)
      : left(places.left + "/" + name), right(places.right + "/" + name) {
    for (const auto& room : {left, right}) {
      std::filesystem::create_directory(room);
      ::chmod(room.c_str(), 0777);
    }
  }
  ~Rooms() {
    std::error_code ignored;
    std::filesystem::remove_all(left, ignored);
    std::filesystem::remove_all(right, ignored);
  }
  const std::string left;
  const std::string right;
};

std::optional<Difference> run(const Places& places, const std::string& name, const Settings& settings,
                              const std::vector<Operation>& operations) {
  const Rooms rooms(places, name);
  Actors actors(settings, rooms.left, rooms.right);
  size_t next_tree = kTreeEvery;
  for (size_t begin = 0; begin < operations.size();) {
    size_t end = begin + 1;
    while (end < operations.size() && operations[end].actor == operations[begin].actor) end += 1;
    if (auto difference = actors.perform(std::span(operations).subspan(begin, end - begin))) {
      difference->index += begin;
      return difference;
    }
    begin = end;
    if (begin < next_tree && begin < operations.size()) continue;
    next_tree += kTreeEvery;
    if (auto text = compare_trees(rooms.left, rooms.right)) return Difference{begin - 1, *text};
  }
  return std::nullopt;
}

// Delta debugging: leaves out ever smaller pieces as long as there still is a difference.
std::vector<Operation> minimise(const Places& places, const std::string& name, const Settings& settings,
                                std::vector<Operation> operations, Difference& difference) {
  const auto deadline = std::chrono::steady_clock::now() + kMostReplayTime;
  int replays = 0;
  operations.resize(difference.index + 1);
  for (size_t piece = std::max<size_t>(operations.size() / 2, 1);;) {
    bool smaller = false;
    for (size_t at = 0; at < operations.size();) {
      if (++replays > kMostReplays || std::chrono::steady_clock::now() > deadline) return operations;
      std::vector<Operation> without = operations;
      const auto from = without.begin() + static_cast<std::ptrdiff_t>(at);
      without.erase(from, from + static_cast<std::ptrdiff_t>(std::min(piece, without.size() - at)));
      auto still = without.empty() ? std::nullopt : run(places, name, settings, without);
      if (!still) {
        at += piece;
        continue;
      }
      without.resize(still->index + 1);
      operations = std::move(without);
      difference = *still;
      smaller = true;
    }
    if (piece == 1 && !smaller) return operations;
    piece = std::max<size_t>(piece / 2, 1);
  }
}

int work(const Places& places, const Settings& settings, uint64_t seed, size_t operations,
         unsigned worker) {
  const std::string name = "worker-" + std::to_string(worker);
  for (size_t done = 0; done < operations; done += kRoundOperations, seed += 1) {
    const auto round =
        random_operations(seed, std::min(kRoundOperations, operations - done), settings.actors);
    Settings now = settings;
    now.holes = settings.holes && seed % 2 == 0;
    auto difference = run(places, name, now, round);
    if (!difference) continue;
    std::printf("seed %llu, operation %zu:\n%s\n", static_cast<unsigned long long>(seed),
                difference->index, difference->text.c_str());
    const auto small = minimise(places, name, now, round, *difference);
    std::printf("%zu operations are enough:\n", small.size());
    for (const auto& operation : small) std::printf("  %s\n", describe(operation).c_str());
    std::printf("%s\n", difference->text.c_str());
    std::fflush(stdout);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: differential BACKING MOUNT [--seed N] [--operations N] ...\n");
    return 2;
  }
  const Places places{argv[1], argv[2]};
  Settings settings;
  uint64_t seed = 1;
  size_t operations = 10'000;
  unsigned workers = 1;
  for (int i = 3; i < argc; i += 1) {
    const std::string option = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::strtoull(argv[++i], nullptr, 10) : 0; };
    if (option == "--seed") seed = number();
    if (option == "--operations") operations = number();
    if (option == "--actors") settings.actors = static_cast<unsigned>(number());
    if (option == "--without-holes") settings.holes = false;
    if (option == "--workers") workers = static_cast<unsigned>(number());
  }
  ::signal(SIGPIPE, SIG_IGN);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  for (unsigned worker = 0; worker < workers; worker += 1)
    // Seeds of different workers stay apart.
    if (::fork() == 0)
      std::_Exit(work(places, settings, seed + worker * 1'000'000ull, operations / workers, worker));
  int failed = 0, status = 0;
  while (::wait(&status) > 0) failed += status != 0;
  std::printf("%zu operations, %d of %u workers found a difference\n", operations, failed, workers);
  return failed ? 1 : 0;
}
