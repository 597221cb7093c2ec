#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "handles.h"
#include "program_table.h"
#include "result_files.h"
#include "upcalls.h"
#include "virtual_layer.h"
#include "virtual_nodes.h"
#include "volume.h"
#include "wire.h"

namespace insitu {

class Session;

struct ReservedNames {
  std::string compute;
  std::string results;
  std::string query;
};

// `.compute`, `.results` and what is below it, `.query`: which of them exist, their attributes, and
// finished results are answered here, at once; what is in them is TypeScript's. Waiting for a fresh
// run happens in OPEN and GETATTR of results and in OPENDIR of `.results`, nowhere else: a lookup or a
// listing that waited would hold the directory's lock in the kernel, and so everybody else.
//
// virtual_names.cc: reserved names in ordinary directories. virtual_results.cc: `.results` and below.
// virtual_handles.cc: what TypeScript reads and writes. virtual_attributes.cc: attributes.
// result_seal.cc: opening an unchanged result without a lookup. virtual_trees.cc: whose directory has
// which key.
class VirtualFiles final : public VirtualLayer {
 public:
  VirtualFiles(std::shared_ptr<Volume> volume, ReservedNames names, Upcalls& upcalls);
  ~VirtualFiles() override;

  // Before the session starts.
  void attach(const std::shared_ptr<Session>& session);

  // From TypeScript.
  void set_program(Program program);
  void remove_program(const std::string& key);
  void publish(const std::string& key, ResultSetPtr current, ResultSetPtr last);
  void wake(uint64_t handle);
  // Where the directory of a key is. Throws ESTALE when its tree or itself is gone.
  struct Place {
    uint32_t tree;
    uint64_t dev;
    uint64_t ino;
  };
  Place place(const std::string& key) const;
  // After the session has stopped, and before it goes: nodes hold its inodes.
  void clear();
  size_t nodes() const { return nodes_.size(); }
  size_t handles() { return handles_.size(); }

  bool is_reserved(std::string_view name) const override;
  bool lookup(Request& request, Inode& parent, std::string_view name) override;
  bool change(Request& request, Inode& parent, std::string_view name) override;
  bool rename(Request& request, Inode& from, std::string_view old_name, Inode& to,
              std::string_view new_name, uint32_t flags) override;
  void handle(Request& request) override;
  void forget(uint64_t node, uint64_t lookups) override;
  bool is_stale(uint64_t node) const override;
  bool has_stale() const override { return stale_count_ > 0; }
  std::vector<ReservedEntry> reserved_entries(Inode& directory) const override;
  void directory_removed(Inode& directory) override;
  void prepare(Tree& tree, int root, const std::string& backing,
               const std::string& identity) override;
  void arrived(const TreePtr& tree, int root) override;
  void left(const Tree& tree) override;
  void not_granted(const Inode& directory) override;

 private:
  struct ListedName {
    std::string name;
    bool is_directory;
  };
  struct Handle {
    VirtualNodePtr node;
    IoUse io;                         // of a result
    std::optional<uint64_t> number;   // TypeScript's
    std::shared_ptr<const UniqueFd> fd;  // of a result
    std::vector<ListedName> listing;  // of a directory, as it was when it was opened
  };
  using HandlePtr = std::shared_ptr<Handle>;

  // ---- virtual_trees.cc
  Volume& volume_of(const Tree& tree) const;
  std::string key_of(const Inode& directory) const;
  void notice(Upcall::Op op, const Inode& directory, std::string_view name);

  // ---- virtual_names.cc
  bool backing_has(const Inode& parent, std::string_view name);
  ProgramPtr program_of(const Inode& directory) const;
  bool exists(const Inode& parent, std::string_view name) const;
  void create_compute(Request& request, const InodePtr& parent);
  void make_compute(Request& request, const InodePtr& parent);
  void unlink_compute(Request& request, const InodePtr& parent);
  void rename_onto_compute(Request& request, Inode& from, std::string_view old_name, Inode& to);
  void drop_stale(uint64_t node, uint64_t parent);

  // ---- virtual_attributes.cc
  fuse_attr attributes(const VirtualNode& node, uint64_t size = 0, int64_t mtime_ns = 0) const;
  fuse_attr result_attributes(const VirtualNode& node, const BoundResult& result) const;
  uint64_t validity_ns(const VirtualNode& node) const;
  void reply_entry(Request& request, const VirtualNodePtr& node, const fuse_attr& attributes,
                   uint64_t entry_ns);
  static void reply_attributes(Request& request, const fuse_attr& attributes, uint64_t valid_ns);
  void reply_result(Request& request, const VirtualNodePtr& node);
  void reply_result_attributes(Request& request, VirtualNode& node, const BoundResult& bound);
  void getattr(Request& request, const VirtualNodePtr& node);
  void setattr(Request& request, const VirtualNodePtr& node);
  void getxattr(Request& request, const VirtualNode& node) const;
  void listxattr(Request& request, const VirtualNode& node) const;
  void statfs(Request& request, const VirtualNode& node) const;

  // ---- virtual_results.cc
  void lookup_in_results(Request& request, const VirtualNodePtr& directory, std::string_view name);
  void lookup_in_last(Request& request, const VirtualNodePtr& directory, std::string_view name);
  // Answers with `then`: at once if the published set holds, else as `resolve`.
  void when_fresh(Request& request, const VirtualNodePtr& node, std::function<bool(Request&)> then);
  // Answers with `then` once there is a fresh set, or with the error. A set that is withdrawn while
  // the answer is on its way (a new program came) is asked for again, `tries` times.
  void resolve(Request& request, const VirtualNodePtr& node, std::function<bool(Request&)> then,
               int tries = 3);
  // ENOENT, EIO, or 0 with `out` set.
  int settle(const VirtualNodePtr& node, std::shared_ptr<const BoundResult>& out);
  bool open_result(Request& request, const VirtualNodePtr& node);
  void open_directory(Request& request, const VirtualNodePtr& node);
  bool list(Request& request, const VirtualNodePtr& node);
  void read_result(Request& request, const Handle& handle) const;
  void seek_result(Request& request);
  void read_directory(Request& request);

  // ---- result_seal.cc
  bool may_seal() const;
  // For the LOOKUP that is being answered: true if its entry may be valid for long, and its
  // attributes not at all; false: the other way round.
  bool seal(VirtualNode& node);
  // The names of a set that is no longer the published one are looked up again.
  void unseal(const std::string& key, const ResultSet* set);
  bool holds_now(const VirtualNode& node) const;
  // ESTALE for a look by path at a version that no longer holds.
  int overtaken(const Request& request, const VirtualNode& node) const;
  bool may_open(const Request& request, VirtualNode& node) const;

  // ---- virtual_handles.cc
  void open(Request& request, const VirtualNodePtr& node);
  bool reply_open(Request& request, const VirtualNodePtr& node, const UpcallReply& reply,
                  const fuse_entry_out* entry = nullptr);
  void read(Request& request);
  void write(Request& request);
  void flush(Request& request);
  void release(Request& request);
  void poll(Request& request);

  std::unique_ptr<Upcall> upcall(Upcall::Op op, const std::string& key, const Request& request,
                                 bool with_groups) const;

  const std::shared_ptr<Volume> volume_;
  const ReservedNames names_;
  Upcalls& upcalls_;
  Session* session_ = nullptr;
  std::weak_ptr<Session> shared_session_;
  const bool sees_callers_;
  ProgramTable programs_;
  VirtualNodes nodes_;
  ResultFiles result_files_;
  HandleTable<Handle> handles_;

  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, unsigned> stale_;  // node → how many renames are not through
  std::atomic<size_t> stale_count_ = 0;
  std::unordered_map<uint64_t, uint64_t> polls_;  // TypeScript's handle → the kernel's
  std::set<std::tuple<uint32_t, uint64_t, std::string>> noticed_;
  std::unordered_map<std::string, TreePtr> trees_;  // grafts with programs, by key_prefix
};

}  // namespace insitu
