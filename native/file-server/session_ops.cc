#include "ops.h"
#include "session.h"
#include "wire.h"

namespace insitu::ops {

void interrupt(Session& session, Request& request) {
  // Answered, if at all, by the table.
  request.no_reply();
  session.waiting().interrupt(request.unique(), request.arg<fuse_interrupt_in>()->unique);
}

void destroy(Session&, Request& request) { request.reply_error(0); }

}  // namespace insitu::ops
