#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "extent_index.h"
#include "inode_table.h"
#include "kept_directory.h"

namespace insitu {

class Session;

struct GraftRequest {
  uint32_t tree = 0;  // the one that the point stands in
  std::string path;   // of the point's directory, below that tree's root; "" is the root
  std::string name;
  std::string backing;  // absolute
  std::string subpath;  // below it; no link is followed there
  bool read_only = false;
  bool revocable = false;
  std::optional<uint64_t> quota_bytes;
  bool compute = false;  // programs may be attached in it
  std::string identity;  // of the tree, from whoever grants it; the keys of its directories hold it
};

// Where a tree lies, as long as nothing is mounted or unmounted.
struct Whereabouts {
  std::vector<Extent> extents;
  size_t mounts = 0;
};

// A backing tree in its place. Its point is a real directory, empty and never seen while the graft
// stands, so that the name is taken on disk too. Where file handles can be had it holds no descriptor.
struct Graft {
  TreePtr tree;
  FilesystemPtr filesystem;
  std::string backing;
  std::string identity;
  std::string subpath;
  KeptDirectory root;   // of a clone that is read-only too, where we may make one
  KeptDirectory plain;  // as it was given
  dev_t dev;
  ino_t ino;
  Whereabouts lies;  // `plain`, when it was grafted
  // The point.
  uint32_t parent_tree;
  std::string parent_path;  // as it was then; for those who look
  KeptDirectory parent;
  dev_t parent_dev;
  ino_t parent_ino;
  std::string name;
  bool made_stub;
  dev_t stub_dev;
  ino_t stub_ino;
  std::vector<std::pair<dev_t, ino_t>> ancestors;  // of the point, up to its tree's root
  uint64_t told = 0;  // once the notifier is so far, the kernel shows it
};
using GraftPtr = std::shared_ptr<const Graft>;

struct GraftStatistics {
  uint32_t id;
  std::string path;  // of the point, below the root of the tree that it stands in
  uint32_t parent;
  std::string backing;
  bool read_only;
  bool revocable;
  bool compute;
  uint64_t nodes;
  uint64_t open;
  std::optional<uint64_t> quota_bytes;
  uint64_t used_bytes;
};

// The grafts of one mount. `graft` and `revoke` come from threads that serve nothing; they throw
// std::system_error. Lock order: `changing_`, `places_mutex_`, `mutex_`, the inode table's.
class GraftTable {
 public:
  explicit GraftTable(Session& session) : session_(session) {}

  // Whether there ever was one: else nothing here needs to be asked.
  bool any() const { return any_.load(std::memory_order_relaxed); }

  // Returns the number of the new tree, which stands from then on.
  uint32_t graft(const GraftRequest& request);
  // Whether the kernel shows it by then: nothing that it believed of the name before is left.
  bool is_shown(uint32_t id, unsigned timeout_ms) const;
  // Returns once nothing of it can be reached, however its users wait; what others had open gives
  // ESTALE. One that is not revocable goes only when nothing of it is open (EBUSY).
  void revoke(uint32_t id);
  // The mount is gone: takes the stubs away that we made.
  void end();
  // As `end`, but a successor goes on with them.
  void leave();

  // What stands at that name; null for an ordinary one.
  GraftPtr at(const Inode& parent, std::string_view name) const;
  // As above; `directory` is O_PATH.
  GraftPtr at(uint32_t tree, int directory, const struct stat& attributes,
              std::string_view name) const;
  // Whether any point stands in this directory.
  bool has_points(const Inode& directory) const;
  // Of which graft this is the root; null for everything else.
  GraftPtr rooted_at(const Inode& directory) const;
  // Whether a point stands somewhere below this directory.
  bool is_ancestor(uint32_t tree, dev_t dev, ino_t ino) const;
  // Whether this directory is a point, so that on disk it stands for another tree's root.
  bool is_covered(uint32_t tree, dev_t dev, ino_t ino) const;
  // The names of the points in this directory, in order.
  std::vector<std::string> points_in(uint32_t tree, dev_t dev, ino_t ino) const;
  // Null when there is none of that number.
  TreePtr tree(uint32_t id) const;
  // That the entry `name` of that directory is another than the kernel may believe.
  void tell_kernel(uint32_t tree, dev_t dev, ino_t ino, const std::string& name) const;

  std::vector<GraftStatistics> statistics() const;
  // Of this one and of those that stand in it, outer ones first; empty when there is none.
  std::vector<GraftStatistics> statistics(uint32_t id) const;
  std::vector<GraftPtr> all() const;
  // Of a predecessor, whose point is as it was.
  GraftPtr adopt(const GraftRequest& request, uint32_t id, bool made_stub);
  uint32_t last() const { return last_; }
  void restore_last(uint32_t last) { last_ = last; }

 private:
  using Directory = std::tuple<uint32_t, dev_t, ino_t>;  // by tree
  using Point = std::tuple<uint32_t, dev_t, ino_t, std::string>;

  std::shared_ptr<Graft> open_tree(const GraftRequest& request) const;
  // Fills in the directory of the point.
  void place(Graft& graft, const GraftRequest& request) const;
  // Where `backing` lies; `before` is what this said of it last.
  Whereabouts check_overlap(int backing, const std::string& path, Whereabouts before = {}) const;
  // Called with places_mutex_ held: mounts may have come and gone below the trees.
  void follow_mounts(const MountTable& mounts) const;
  GraftPtr at(uint32_t tree, dev_t dev, ino_t ino, std::string_view name) const;
  GraftPtr find(uint32_t id) const;
  GraftPtr covering(uint32_t tree, dev_t dev, ino_t ino) const;
  std::vector<GraftPtr> with_inner(uint32_t id) const;
  void add(const std::shared_ptr<Graft>& graft);
  void insert(const GraftPtr& graft);
  void erase(const Graft& graft);
  void detach(const Graft& graft);
  void tell_kernel(const Graft& graft) const;

  Session& session_;
  std::atomic<bool> any_ = false;
  std::mutex changing_;  // one change at a time
  uint32_t last_ = 0;    // guarded by changing_

  mutable std::mutex places_mutex_;  // guards where all trees lie
  mutable ExtentIndex places_;
  mutable std::vector<Extent> own_place_;  // the volume's
  mutable size_t places_mounts_ = 0;       // while those were mounted

  mutable std::shared_mutex mutex_;  // guards what follows
  std::map<uint32_t, GraftPtr> grafts_;
  std::map<Point, GraftPtr> points_;
  std::map<Directory, unsigned> parents_;    // directories in which points stand, and how many
  std::map<Directory, unsigned> ancestors_;  // the same, and those above
  std::map<Directory, GraftPtr> covered_;    // the points themselves
  std::set<std::string> identities_;         // the prefixes of keys in trees with programs
};

}  // namespace insitu
