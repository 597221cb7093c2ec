#pragma once

#include <sys/stat.h>

#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace insitu {

// What a person may read about why there is no copy.
class Refused : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The time was over before it was done.
class OutOfTime : public Refused {
  using Refused::Refused;
};

// Copies a tree by sharing blocks, and proves that the copy is of one moment: every file and directory
// is looked at before it is copied and once more after all were. Where nothing changed in between,
// the copy is what was there in the moment between both passes. A change always shows in the time of
// the inode's change, which nobody can set: an inode that changed within the clock's current tick is
// looked at again later, and sharing blocks writes mapped pages back, so that the next store to one
// is a change again.
class TreeCopy {
 public:
  explicit TreeCopy(std::chrono::steady_clock::time_point end) : end_(end) {}

  // `from` and `to` are directories, `to` is empty. Returns the path of something that changed
  // meanwhile; '' when the copy holds. Throws Refused for what cannot be copied.
  std::string copy(int from, int to);
  size_t size() const { return seen_.size(); }

 private:
  struct Seen {
    std::string path;
    struct statx attributes;
  };
  struct Changed {
    std::string path;
  };

  struct statx look(int directory, const char* name, const std::string& path);
  void copy_directory(int from, int to, const std::string& path);
  void copy_entry(int from, int to, const std::string& name, const std::string& path);
  void copy_file(int from, int to, const std::string& name, const std::string& path,
                 const struct statx& attributes);
  void verify(int root) const;

  const std::chrono::steady_clock::time_point end_;
  std::vector<Seen> seen_;
  // Files with several names: the first one's path in the copy.
  std::map<uint64_t, std::string> linked_;
  int copy_root_ = -1;
  uint64_t device_ = 0;
};

// With everything in it; not there is fine.
void remove_tree(int directory, const char* name);

}  // namespace insitu
