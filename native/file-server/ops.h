#pragma once

// The ordinary operations, one function an opcode. Each has checked sizes (opcodes.cc) and answers the
// request exactly once; none keeps it.

namespace insitu {
class Session;
class Request;
}  // namespace insitu

namespace insitu::ops {

// lookup_ops.cc
void lookup(Session&, Request&);
void forget(Session&, Request&);
void batch_forget(Session&, Request&);
// attribute_ops.cc
void getattr(Session&, Request&);
void statfs(Session&, Request&);
// data_ops.cc
void open(Session&, Request&);
void read(Session&, Request&);
void flush(Session&, Request&);
void release(Session&, Request&);
// directory_ops.cc
void opendir(Session&, Request&);
void readdir(Session&, Request&);
void releasedir(Session&, Request&);
// session_ops.cc
void interrupt(Session&, Request&);
void destroy(Session&, Request&);

}  // namespace insitu::ops
