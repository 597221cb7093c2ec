#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/unique_fd.h"
#include "file-server/identity.h"
#include "file-server/principal.h"
#include "file-server/volume.h"

namespace insitu {

enum class EntryKind : uint8_t { File, Directory, Symlink, Other };

enum class Look : uint8_t { Look, End };

struct Validation {
  bool holds = true;
  std::string path;
  std::string why;
};

// One run's view of its inputs: everything is looked up at and below the program's directory with
// the principal's rights, and the identity of all that was looked at, found or not, is kept.
// Calls may block on the disk, come from any thread, and throw Failure. It holds no descriptor, so
// that thousands of published sets cost none, but for those few that are looked at all the time.
class InputSession {
 public:
  struct Opened {
    UniqueFd fd;
    Attributes attributes;
  };
  struct Entry {
    std::string name;
    EntryKind kind;
  };

  InputSession(std::shared_ptr<Volume> volume, std::string key, Principal principal,
               std::vector<Identity> restored = {});

  Opened open(const std::string& path);
  Attributes stat(const std::string& path);
  std::vector<Entry> list(const std::string& path);

  Validation validate(Look look);
  // Keeps the directory open from the first `hold` to the last `release`. Neither throws.
  void hold();
  void release();
  size_t size() const;
  // A look takes some microseconds and waits for no disk or network: few inputs, which the run looked
  // at before, so that the kernel has them all.
  bool is_quick() const;
  std::vector<Identity> identities() const;
  // What may hang together with it: all of its volume.
  const void* lane() const { return volume_.get(); }
  // See `readableMode` in types.ts.
  uint32_t readable_mode(uint32_t gid);

 private:
  // Canonical form of a guest's path; EINVAL for what can name nothing of ours.
  static std::string normalise(const std::string& path);
  UniqueFd open_path(int directory, const std::string& path, uint64_t flags);
  Attributes settle(int fd, Identity& identity);
  void record(Identity identity);
  void record_refusal(int directory, const std::string& path, int error);
  // EXDEV when what was found, or a directory on the way to what was not, is a graft's point: a program
  // sees the tree that it is in.
  void refuse_points(int directory, const std::string& path, const UniqueFd& found);
  bool is_covered(int fd) const;
  bool is_too_recent(const Attributes& attributes) const;
  Validation check(int directory, const Identity& identity, Look look, WriterRegistry* registry);
  // A directory on the way to an input, and who may search it: results are no more open than that.
  struct Way {
    std::string path;
    Attributes attributes;
  };
  static Validation check_way(int directory, const Way& then);

  // The directory, if it is still there.
  std::shared_ptr<const UniqueFd> directory();

  const std::shared_ptr<Volume> volume_;
  const std::string key_;
  const Principal principal_;

  std::mutex held_mutex_;
  size_t holders_ = 0;
  std::shared_ptr<const UniqueFd> held_;

  mutable std::shared_mutex mutex_;
  std::vector<Identity> identities_;
  // As `readable_mode` found them; empty when it let nobody but the owner read.
  std::vector<Way> ways_;
  std::unordered_set<std::string> recorded_;  // kind and path
  size_t path_bytes_ = 0;
};

EntryKind entry_kind(uint32_t mode);

// Of names in order; 0 for none.
uint64_t digest(const std::vector<std::string>& names);

}  // namespace insitu
