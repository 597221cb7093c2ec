// Without libFuzzer: replays inputs, or mutates them blindly.
//
// driver FILE...             each once
// driver SECONDS SEED FILE...  mutations of them; the last input is in ./last

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "session.h"

namespace {

using Bytes = std::vector<uint8_t>;

Bytes contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bytes mutated(const std::vector<Bytes>& corpus, std::mt19937_64& dice) {
  Bytes out = corpus[dice() % corpus.size()];
  for (uint64_t changes = 1 + dice() % 6; changes > 0; --changes) {
    const size_t at = out.empty() ? 0 : dice() % out.size();
    const Bytes& other = corpus[dice() % corpus.size()];
    switch (dice() % 5) {
      case 0:
        if (!out.empty()) out[at] = static_cast<uint8_t>(dice());
        break;
      case 1:
        if (!out.empty()) out[at] ^= static_cast<uint8_t>(1u << dice() % 8);
        break;
      case 2:
        out.insert(out.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(dice()));
        break;
      case 3:
        if (!out.empty()) out.erase(out.begin() + static_cast<ptrdiff_t>(at));
        break;
      default:
        out.insert(out.end(), other.begin(), other.end());
        if (out.size() > 4096) out.resize(4096);
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const long seconds = argc > 2 ? std::strtol(argv[1], &end, 10) : 0;
  const bool mutates = end != nullptr && *end == '\0';
  std::vector<Bytes> corpus;
  for (int i = mutates ? 3 : 1; i < argc; ++i) corpus.push_back(contents(argv[i]));
  if (corpus.empty()) return 2;
  if (!mutates) {
    for (const Bytes& each : corpus) fuzz_session(each.data(), each.size());
    std::cout << "replayed " << corpus.size() << " inputs\n";
    return 0;
  }
  std::mt19937_64 dice(std::strtoull(argv[2], nullptr, 10));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < until; ++runs) {
    const Bytes input = mutated(corpus, dice);
    std::ofstream("last", std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    fuzz_session(input.data(), input.size());
  }
  std::cout << "fuzz: seed " << argv[2] << ", " << runs << " inputs\n";
}
