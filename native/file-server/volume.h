#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/unique_fd.h"
#include "file-server/directory_key.h"
#include "file-server/identity.h"
#include "file-server/open_beneath.h"
#include "file-server/principal.h"
#include "file-server/writers.h"

namespace insitu {

// A backing directory: names its directories by key and finds them again. All calls may block on
// the disk, are safe from any thread, and throw Failure.
class Volume {
 public:
  Volume(std::string backing, size_t max_inputs);

  const std::string& backing() const { return backing_; }
  size_t max_inputs() const { return max_inputs_; }
  int64_t granularity_ns() const { return granularity_ns_; }
  bool on_tmpfs() const { return on_tmpfs_; }
  bool is_local() const { return local_; }
  // Directories are found by handles; else by paths, which are verified at each use.
  bool has_handles() const { return handles_; }

  // `path` relative to the root, "" is the root. Remembers where a directory without a handle was:
  // after a restart such a directory is found once it was named again.
  std::string key_of(const std::string& path);
  // Of an open directory of the volume.
  std::string key_of(int directory);
  // Empty optional: the directory is gone, or no longer inside the volume.
  std::optional<std::string> path_of(const std::string& key);
  Attributes stat(const std::string& key);
  // Of what `path`, relative to the root, leads to.
  Attributes attributes(const std::string& path);
  bool access(const std::string& key, const Principal& principal, int mode);

  // O_PATH description of the directory as inputs are read through: a read-only, nodev, noexec
  // clone of the backing where we may make one. Throws ESTALE.
  UniqueFd open_for_reading(const std::string& key);

  // The registry of the mount that serves this volume, while there is one.
  void serve(std::shared_ptr<WriterRegistry> registry);
  std::shared_ptr<WriterRegistry> registry() const;

 private:
  struct Remembered {
    UniqueFd fd;  // may be empty when there were too many
    std::string path;
  };

  struct Found {
    UniqueFd fd;
    std::string path;
    Attributes attributes;
  };

  // Where the directory is now; nullopt when it is gone or outside. The descriptor is on the
  // backing's own mount.
  std::optional<Found> find(const std::string& key);
  std::optional<Found> find_remembered(const std::string& key, const DirectoryKey& parsed);
  std::optional<Found> verify(UniqueFd fd);
  void remember(const std::string& key, int fd, std::string path);

  const std::string backing_;
  const size_t max_inputs_;
  UniqueFd root_;
  uint64_t root_mount_ = 0;
  UniqueFd reading_;  // the clone's root; empty: read through root_
  bool handles_ = false;
  bool on_tmpfs_ = false;
  bool local_ = false;
  int64_t granularity_ns_ = 0;

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Remembered> remembered_;
  std::shared_ptr<WriterRegistry> registry_;
};

}  // namespace insitu
