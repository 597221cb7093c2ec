#pragma once

#include <chrono>

#include "inode_table.h"
#include "opcodes.h"

namespace insitu {

// What stands between a request and the operation on a mount that has grafts: a tree that was
// revoked (ESTALE) or is read-only (EROFS), two trees in one operation (EXDEV), and names that
// grafts need to stay as they are (EBUSY). Counts the request as under way in its tree, waits where
// changes are held, and measures how long it takes from there.
class Admission {
 public:
  Admission(Session& session, Request& request, const Opcode& opcode);
  ~Admission();
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // False: the request was answered.
  explicit operator bool() const { return admitted_; }
  // It may have to do with virtual files alone, which a read-only tree has too; else it is refused.
  bool ends_at_disk() const { return ends_at_disk_; }

 private:
  int refusal(Session& session, Request& request, const Opcode& opcode, const Inode& inode);

  InodePtr counted_;
  bool writes_ = false;
  std::chrono::steady_clock::time_point begun_;
  bool admitted_ = true;
  bool ends_at_disk_ = false;
};

}  // namespace insitu
