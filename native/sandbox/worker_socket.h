#pragma once

#include <napi.h>

namespace insitu {

// The worker's end of its socket, blocking; loaded inside the jail only.
//
//   exports.channel = {
//     send(fd, header: Uint8Array, tail: Uint8Array | undefined): void
//     receive(fd): {frame: Buffer, fd: number}      fd -1: none came along; throws at the end
//     lock(): void                                  the worker's filter, on all threads, for good
//     limitThreads(count): void                     RLIMIT_NPROC, soft and hard
//   }
void register_worker_socket(Napi::Env env, Napi::Object exports);

}  // namespace insitu
