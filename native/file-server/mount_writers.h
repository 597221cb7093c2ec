#pragma once

#include <memory>

#include "session.h"
#include "writers.h"

namespace insitu {

// Answers validation from the inode table of a mount.
class MountWriters final : public WriterRegistry {
 public:
  explicit MountWriters(const std::shared_ptr<Session>& session);
  Writers writers(uint64_t dev, uint64_t ino) override;
  void write_back(uint64_t dev, uint64_t ino) override;
  bool exclusive() const override { return exclusive_; }

 private:
  const std::weak_ptr<Session> session_;
  const bool exclusive_;
};

}  // namespace insitu
