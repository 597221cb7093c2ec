#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "result_set.h"

namespace insitu {

// What is known of one directory's program; replaced as a whole, so that a reader sees one state.
struct Program {
  std::string key;  // DirectoryKey
  uint32_t tree = 0;
  uint64_t dev = 0;
  uint64_t ino = 0;

  uint64_t size = 0;  // of what reading `.compute` gives
  int64_t mtime_ns = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  bool writing = false;  // `.compute` exists, `.results` does not yet

  ResultSetPtr current;
  ResultSetPtr last;

  // Whose time `.results` shows; null before the first set.
  const ResultSet* newest() const { return current ? current.get() : last.get(); }
};

using ProgramPtr = std::shared_ptr<const Program>;

// The directories that have a program. Found by inode number, so that a lookup in any other
// directory costs one hash; who finds one that way checks the key, as numbers are used again.
class ProgramTable {
 public:
  ProgramPtr find(const std::string& key) const;
  ProgramPtr find(uint32_t tree, uint64_t dev, uint64_t ino) const;
  // Adds or replaces, keeping what was published.
  void set(Program program);
  // False when the directory has no program.
  bool publish(const std::string& key, ResultSetPtr current, ResultSetPtr last);
  // Gives back what was removed; null when there was nothing.
  ProgramPtr remove(const std::string& key);
  // The same, of all directories of a tree.
  std::vector<ProgramPtr> remove_tree(uint32_t tree);

 private:
  ProgramPtr remove_locked(const std::string& key);

  struct Number {
    uint32_t tree;
    uint64_t dev;
    uint64_t ino;
    bool operator==(const Number&) const = default;
  };
  struct NumberHash {
    size_t operator()(const Number& number) const {
      return (number.ino * 0x9E3779B97F4A7C15u ^ number.dev) + number.tree;
    }
  };

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, ProgramPtr> by_key_;
  std::unordered_map<Number, std::string, NumberHash> by_number_;
};

}  // namespace insitu
