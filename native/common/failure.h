#pragma once

#include <exception>
#include <string>
#include <utility>

namespace insitu {

// An errno with a sentence for whoever asked. Thrown between layers of one thread, caught where the
// work was started; never leaves a thread.
class Failure : public std::exception {
 public:
  Failure(int error, std::string message) : error_(error), message_(std::move(message)) {}
  int error() const { return error_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  int error_;
  std::string message_;
};

}  // namespace insitu
