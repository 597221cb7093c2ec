#pragma once

#include <sys/types.h>

namespace insitu {

class Request;

// Whether the calling thread has it in its effective set.
bool has_capability(unsigned capability);

// Makes the calling thread fit to serve: its own umask and working directory, and, when it may
// switch credentials, no groups and neither CAP_FSETID (so that writes drop setuid and setgid bits
// as an ordinary user's do) nor CAP_SYS_RESOURCE (so that quotas and reserved blocks count). What
// passthrough registers keeps these credentials for its I/O.
void prepare_serving_thread();

// While it lives, what this thread creates belongs to the caller of `request`, as if it had created
// it itself. Permission is not checked again: the kernel did, with more knowledge of the caller's
// groups.
class CreateAs {
 public:
  // `mode` is what is asked for, `umask` the caller's: the backing filesystem applies it, since
  // only it knows of default ACLs.
  CreateAs(const Request& request, mode_t mode, mode_t umask);
  ~CreateAs();
  // What to create with.
  mode_t mode() const { return mode_; }
  CreateAs(const CreateAs&) = delete;
  CreateAs& operator=(const CreateAs&) = delete;

 private:
  mode_t mode_;
  bool switched_uid_ = false;
  bool switched_groups_ = false;
  bool raised_ = false;
};

// While it lives and `needed`, setuid and setgid bits survive what this thread does.
class KeepSetid {
 public:
  explicit KeepSetid(bool needed);
  ~KeepSetid();
  KeepSetid(const KeepSetid&) = delete;
  KeepSetid& operator=(const KeepSetid&) = delete;

 private:
  const bool raised_;
};

}  // namespace insitu
