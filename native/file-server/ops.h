#pragma once

// The ordinary operations, one function an opcode. Each has checked sizes (opcodes.cc) and answers
// the request exactly once; none keeps it.

namespace insitu {
class Session;
class Request;
}  // namespace insitu

namespace insitu::ops {

// lookup_ops.cc
void lookup(Session&, Request&);
void forget(Session&, Request&);
void batch_forget(Session&, Request&);
// create_ops.cc
void create(Session&, Request&);
void tmpfile(Session&, Request&);
void mknod(Session&, Request&);
void mkdir(Session&, Request&);
void symlink(Session&, Request&);
void link(Session&, Request&);
// namespace_ops.cc
void unlink(Session&, Request&);
void rmdir(Session&, Request&);
void rename(Session&, Request&);
void rename2(Session&, Request&);
void readlink(Session&, Request&);
// attribute_ops.cc
void getattr(Session&, Request&);
void setattr(Session&, Request&);
void statx(Session&, Request&);
void statfs(Session&, Request&);
// data_ops.cc
void open(Session&, Request&);
void read(Session&, Request&);
void write(Session&, Request&);
void copy_file_range(Session&, Request&);
void fallocate(Session&, Request&);
void lseek(Session&, Request&);
void flush(Session&, Request&);
void fsync(Session&, Request&);
void release(Session&, Request&);
// directory_ops.cc
void opendir(Session&, Request&);
void readdir(Session&, Request&);
void readdirplus(Session&, Request&);
void fsyncdir(Session&, Request&);
void releasedir(Session&, Request&);
// xattr_ops.cc
void setxattr(Session&, Request&);
void getxattr(Session&, Request&);
void listxattr(Session&, Request&);
void removexattr(Session&, Request&);
// ioctl_ops.cc
void ioctl(Session&, Request&);
void poll(Session&, Request&);
// lock_ops.cc
void getlk(Session&, Request&);
void setlk(Session&, Request&);
void setlkw(Session&, Request&);
// session_ops.cc
void interrupt(Session&, Request&);
void syncfs(Session&, Request&);
void destroy(Session&, Request&);

}  // namespace insitu::ops
