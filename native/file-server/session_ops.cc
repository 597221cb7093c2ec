#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "ops.h"
#include "reopen.h"
#include "session.h"
#include "wire.h"

namespace insitu::ops {

void interrupt(Session& session, Request& request) {
  // Answered, if at all, by the table.
  request.no_reply();
  session.waiting().interrupt(request.unique(), request.arg<fuse_interrupt_in>()->unique);
}

void syncfs(Session& session, Request& request) {
  const Descriptor path = session.inodes().root()->descriptor();
  const UniqueFd root = path ? reopen(path->get(), O_RDONLY | O_DIRECTORY) : UniqueFd{};
  request.reply_error(!root || ::syncfs(root.get()) < 0 ? errno : 0);
}

void destroy(Session&, Request& request) { request.reply_error(0); }

}  // namespace insitu::ops
