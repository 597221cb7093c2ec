#pragma once

#include <memory>

#include "session.h"
#include "writers.h"

namespace insitu {

// Answers validation from the inode table of a mount, for one of its trees.
class MountWriters final : public WriterRegistry {
 public:
  MountWriters(const std::shared_ptr<Session>& session, const Tree& tree);
  Writers writers(uint64_t dev, uint64_t ino) override;
  void write_back(uint64_t dev, uint64_t ino) override;
  bool is_covered(uint64_t dev, uint64_t ino) override;
  std::vector<std::string> points_in(uint64_t dev, uint64_t ino) override;
  bool exclusive() const override { return exclusive_; }

 private:
  const std::weak_ptr<Session> session_;
  const uint32_t tree_;
  const bool exclusive_;
};

}  // namespace insitu
