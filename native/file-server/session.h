#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/id_map.h"
#include "graft_table.h"
#include "handles.h"
#include "inode_table.h"
#include "interrupts.h"
#include "locks.h"
#include "negotiated.h"
#include "notifier.h"
#include "opcodes.h"
#include "passthrough.h"
#include "recent_listings.h"
#include "request.h"
#include "virtual_layer.h"

namespace insitu {

struct SessionState;

// Of a mount whose clones show the volume's ids as others.
struct IdMaps {
  IdMap users, groups;
};

struct SessionOptions {
  std::string backing;      // absolute
  std::string mount_point;  // absolute; empty: attached nowhere, as `detached_root` is cloned
  bool exclusive = false;
  bool allow_other = false;
  bool list_reserved = false;
  bool passthrough = true;  // where it can be had
  bool shared_backing = false;  // locks reach the backing filesystem
  // Its clones are idmapped so; without them no clone can be.
  std::optional<IdMaps> ids;
  // Devices are shown without their number: whoever has a clone may take `nodev` off it.
  bool hide_devices = false;
  unsigned threads = 0;         // that serve; 0: by the number of processors
};

// One mount: the connection to the kernel, the threads that serve it, and what they share.
// Lock order: a DirectoryHandle's mutex, then the inode table's, then a handle table's shard.
class Session {
 public:
  // Opens the backing directory. `layer` may be null and must outlive the session. `on_end` is
  // called once, from a thread of the session, when the connection has ended. Throws
  // std::system_error.
  Session(SessionOptions options, VirtualLayer* layer, std::function<void(std::string)> on_end);
  ~Session();

  // Mounts, negotiates, starts the threads. Throws std::system_error; then nothing is mounted.
  void start();
  // As start(), over a device that is connected already; the mount point is then nobody's.
  void start_on(UniqueFd device);
  // As start_on, for a connection that a predecessor served: nothing is negotiated.
  void resume_on(UniqueFd device, const SessionState& state);
  // Stops serving and leaves everything as it is for a successor, which needs the device as well.
  // No request may be under way.
  SessionState hand_over();
  // Detaches the mount point, answers what waits, and returns when no thread is left. Idempotent;
  // not to be called from a thread of the session.
  void stop();

  const SessionOptions& options() const { return options_; }
  const NegotiatedProtocol& negotiated() const { return negotiated_; }
  // Of the volume; grafts have their own.
  const CacheTimes& cache_times() const { return volume_->times; }
  VirtualLayer* virtual_layer() const { return layer_; }
  // Of the mount, "major:minor"; empty when it could not be told.
  const std::string& device_number() const { return device_number_; }
  // Of a mount that is attached nowhere; -1 of another.
  int detached_root() const { return detached_root_.get(); }
  GraftTable& grafts() { return grafts_; }
  const GraftTable& grafts() const { return grafts_; }
  InodeTable& inodes() { return *inodes_; }
  Passthrough& passthrough() { return passthrough_; }
  const Passthrough& passthrough() const { return passthrough_; }
  Notifier& notifier() { return *notifier_; }
  RecentListings& recent_listings() { return recent_listings_; }
  WaitingTable& waiting() { return *waiting_; }
  Locks& locks() { return locks_; }
  HandleTable<FileHandle>& files() { return files_; }
  HandleTable<DirectoryHandle>& directories() { return directories_; }
  // All descriptors of the connection; they do not change while threads run.
  std::vector<int> devices() const;
  unsigned threads() const { return static_cast<unsigned>(threads_.size()); }
  uint64_t served(uint32_t opcode) const;

 private:
  void negotiate();
  void start_threads();
  void join_threads();
  void write_back();
  // Why the kernel cannot do I/O on the backing files itself; null when it can.
  const char* no_passthrough(uint64_t offered) const;
  void serve(int device);
  void dispatch(Request& request);
  static int crossing(const Request& request);
  bool reserved(Request& request, const Opcode& opcode);
  void distrust(const Request& request, const Opcode& opcode);
  bool reserved_without_programs(Request& request, const Inode& parent, std::string_view name);
  void ended(const char* reason);

  const SessionOptions options_;
  VirtualLayer* const layer_;
  const std::function<void(std::string)> on_end_;
  NegotiatedProtocol negotiated_;
  const TreePtr volume_ = std::make_shared<Tree>();
  uint64_t backing_type_ = 0;  // f_type of statfs(2)
  RecentListings recent_listings_;
  Passthrough passthrough_;
  std::unique_ptr<InodeTable> inodes_;
  GraftTable grafts_{*this};
  Locks locks_;
  HandleTable<FileHandle> files_;
  HandleTable<DirectoryHandle> directories_;
  std::vector<UniqueFd> devices_;
  std::unique_ptr<Notifier> notifier_;
  std::unique_ptr<WaitingTable> waiting_;
  std::vector<std::thread> threads_;
  std::array<std::atomic<uint64_t>, kOpcodeCount> served_{};
  std::atomic<unsigned> running_ = 0;
  std::atomic<bool> stopping_ = false;
  std::once_flag end_told_;
  std::mutex stop_mutex_;
  bool stopped_ = false;
  bool mounted_ = false;
  UniqueFd detached_root_;
  std::string device_number_;
};

}  // namespace insitu
