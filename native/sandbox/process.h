#pragma once

#include <napi.h>
#include <sys/types.h>

#include "common/unique_fd.h"

namespace insitu {

// One worker process, held by descriptors so that a reused pid is never met: a pidfd, and its
// /proc/PID/status. Every method is quick and never throws because the process is gone.
//
//   new Process(pid, id)                    its uid and gid, 0 when they are the daemon's own;
//                                           throws when there is no such process
//   pid: number                             as given
//   kill(): void                            SIGKILL
//   cpuMs(): number                         all threads; 0 when it is gone
//   memory(): {residentBytes, peakBytes, dataBytes}      zeros when it is gone
//   resetPeak(): void                       best effort
//   limit('data' | 'fileSize', bytes | Infinity): boolean      the soft limit; false: not possible
//   close(): void
class Process : public Napi::ObjectWrap<Process> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Process(const Napi::CallbackInfo& info);

 private:
  Napi::Value pid(const Napi::CallbackInfo& info);
  Napi::Value kill(const Napi::CallbackInfo& info);
  Napi::Value cpu_ms(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value reset_peak(const Napi::CallbackInfo& info);
  Napi::Value limit(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  bool alive() const;

  pid_t pid_;
  uid_t id_;
  UniqueFd pidfd_;
  UniqueFd status_;
};

// socketPair(): [daemon's end, worker's end]; both SOCK_SEQPACKET, close-on-exec, the daemon's
// non-blocking.
Napi::Value socket_pair(const Napi::CallbackInfo& info);
// pipe(): [read, write]; both close-on-exec, the reading end non-blocking.
Napi::Value make_pipe(const Napi::CallbackInfo& info);
// spoolFile(directory): {own, passed}: two descriptions of one file that has no name, the first
// read-only, the second for appending.
Napi::Value spool_file(const Napi::CallbackInfo& info);

}  // namespace insitu
