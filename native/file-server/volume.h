#pragma once

#include <atomic>
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
// the disk, are safe from any thread, and throw Failure; ESTALE once it is closed.
class Volume {
 public:
  Volume(std::string backing, size_t max_inputs);
  // Of an open directory (O_PATH will do); `backing` is its path, for people.
  Volume(int directory, std::string backing, size_t max_inputs);

  // Nothing of it is reached any more, and it holds nothing open; calls under way end as they would.
  void close();
  bool is_closed() const { return closed_; }
  // Which tree of which filesystem this is: the same after a restart, and another one's for whatever
  // else is put at this path. At most 70 bytes of [0-9a-f-].
  std::string fingerprint() const;
  // Nothing is written here: the right to change a directory is what it would be if something were.
  void serve_read_only() { read_only_ = true; }
  // Its directories are also seen through the mount of this description of its root.
  void seen_through(int root);

  struct Place {
    uint64_t dev;
    uint64_t ino;
  };

  const std::string& backing() const { return backing_; }
  size_t max_inputs() const { return max_inputs_; }
  int64_t granularity_ns() const { return granularity_ns_; }
  bool on_tmpfs() const { return on_tmpfs_; }
  bool is_local() const { return local_; }
  // Directories are found by handles; else by paths, which are verified at each use.
  bool has_handles() const { return handles_; }

  // `path` relative to the root, "" is the root. Remembers where a directory without a handle was:
  // after a restart such a directory is found once it was named again. With a principal, who has to be
  // allowed to search what is on the way.
  std::string key_of(const std::string& path, const Principal* principal = nullptr);
  // Of an open directory of the volume.
  std::string key_of(int directory);
  // Empty optional: the directory is gone, or no longer inside the volume.
  std::optional<std::string> path_of(const std::string& key);
  Attributes stat(const std::string& key);
  // Of what `path`, relative to the root, leads to.
  Attributes attributes(const std::string& path);
  bool access(const std::string& key, const Principal& principal, int mode);
  // Its numbers, which a directory keeps; without a look at the disk if it was looked at before.
  Place place(const std::string& key);

  // O_PATH description of the directory as inputs are read through: a read-only, nodev, noexec
  // clone of the backing where we may make one. Throws ESTALE.
  UniqueFd open_for_reading(const std::string& key);

  // The registry of the mount that serves this volume, while there is one.
  void serve(std::shared_ptr<WriterRegistry> registry);
  std::shared_ptr<WriterRegistry> registry() const;

 private:
  // Everything that it holds open, given up together.
  struct Roots {
    UniqueFd root;
    uint64_t mount = 0;
    UniqueFd reading;     // the clone's root; empty: read through root
    UniqueFd shown;       // see seen_through
    uint64_t shown_mount = 0;
    int through() const { return reading ? reading.get() : root.get(); }
  };

  struct Remembered {
    UniqueFd fd;  // may be empty when there were too many
    std::string path;
  };

  struct Found {
    UniqueFd fd;
    std::string path;
    Attributes attributes;
  };

  void open(UniqueFd root);
  std::shared_ptr<const Roots> roots() const;
  // Where the directory is now; nullopt when it is gone or outside. The descriptor is on the
  // backing's own mount.
  std::optional<Found> find(const Roots& roots, const std::string& key);
  std::optional<Found> find_remembered(const Roots& roots, const std::string& key,
                                       const DirectoryKey& parsed);
  std::optional<Found> verify(const Roots& roots, UniqueFd fd);
  void remember(const std::string& key, int fd, std::string path);

  const std::string backing_;
  const size_t max_inputs_;
  std::atomic<bool> closed_ = false;
  std::atomic<bool> read_only_ = false;
  bool handles_ = false;
  bool on_tmpfs_ = false;
  bool local_ = false;
  int64_t granularity_ns_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const Roots> roots_;  // null: closed
  std::unordered_map<std::string, Place> places_;
  std::unordered_map<std::string, Remembered> remembered_;
  std::shared_ptr<WriterRegistry> registry_;
};

}  // namespace insitu
