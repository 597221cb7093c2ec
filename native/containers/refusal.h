// Why a helper ends without having done what it was asked to; thrown, so that what it began is undone.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

namespace insitu {

struct Refusal {
  int status;  // of exit(2)
  std::string why;
};

[[noreturn]] inline void refuse(const std::string& why) { throw Refusal{1, why}; }

[[noreturn]] inline void fail(const std::string& what, int error = errno) {
  refuse(what + ": " + std::strerror(error));
}

}  // namespace insitu
