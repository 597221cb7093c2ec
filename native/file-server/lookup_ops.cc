#include <cerrno>
#include <cstring>

#include "attributes.h"
#include "ops.h"

namespace insitu::ops {

namespace {

void forget_node(Session& session, uint64_t node, uint64_t lookups) {
  if (!is_virtual(node)) {
    session.inodes().forget(node, lookups);
  } else if (VirtualLayer* layer = session.virtual_layer()) {
    layer->forget(node, lookups);
  }
}

}  // namespace

void lookup(Session& session, Request& request) {
  const InodePtr parent = session.inodes().find(request.node());
  if (!parent) return void(request.reply_error(ESTALE));
  fuse_entry_out out;
  InodePtr child;
  const int error = look_up(session, *parent, request.name(0), out, child);
  if (error == 0) return reply_entry(session, request, out);
  const uint64_t negative_ns = parent->tree().times.negative_ns;
  if (error != ENOENT || negative_ns == 0) return void(request.reply_error(error));
  // Node 0 is a name that is known not to be there.
  out = {};
  out.entry_valid = seconds_of(negative_ns);
  out.entry_valid_nsec = nanoseconds_of(negative_ns);
  request.reply_with(out);
}

void forget(Session& session, Request& request) {
  request.no_reply();
  forget_node(session, request.node(), request.arg<fuse_forget_in>()->nlookup);
}

void batch_forget(Session& session, Request& request) {
  request.no_reply();
  const size_t count = request.arg<fuse_batch_forget_in>()->count;
  auto rest = request.body().subspan(sizeof(fuse_batch_forget_in));
  for (size_t i = 0; i < count && rest.size() >= sizeof(fuse_forget_one); ++i) {
    fuse_forget_one one;
    std::memcpy(&one, rest.data(), sizeof one);
    rest = rest.subspan(sizeof one);
    forget_node(session, one.nodeid, one.nlookup);
  }
}

}  // namespace insitu::ops
