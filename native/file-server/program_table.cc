#include "program_table.h"

#include <mutex>
#include <utility>

namespace insitu {

ProgramPtr ProgramTable::find(const std::string& key) const {
  const std::shared_lock lock(mutex_);
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

ProgramPtr ProgramTable::find(uint32_t tree, uint64_t dev, uint64_t ino) const {
  const std::shared_lock lock(mutex_);
  const auto number = by_number_.find({tree, dev, ino});
  if (number == by_number_.end()) return nullptr;
  const auto found = by_key_.find(number->second);
  return found == by_key_.end() ? nullptr : found->second;
}

void ProgramTable::set(Program program) {
  const std::lock_guard lock(mutex_);
  ProgramPtr& slot = by_key_[program.key];
  if (slot) {
    program.current = slot->current;
    program.last = slot->last;
  }
  by_number_[{program.tree, program.dev, program.ino}] = program.key;
  slot = std::make_shared<const Program>(std::move(program));
}

bool ProgramTable::publish(const std::string& key, ResultSetPtr current, ResultSetPtr last) {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return false;
  Program next = *found->second;
  next.current = std::move(current);
  next.last = std::move(last);
  found->second = std::make_shared<const Program>(std::move(next));
  return true;
}

ProgramPtr ProgramTable::remove(const std::string& key) {
  const std::lock_guard lock(mutex_);
  return remove_locked(key);
}

std::vector<ProgramPtr> ProgramTable::remove_tree(uint32_t tree) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> keys;
  for (const auto& [key, program] : by_key_)
    if (program->tree == tree) keys.push_back(key);
  std::vector<ProgramPtr> removed;
  for (const std::string& key : keys) removed.push_back(remove_locked(key));
  return removed;
}

ProgramPtr ProgramTable::remove_locked(const std::string& key) {
  const auto found = by_key_.extract(key);
  if (found.empty()) return nullptr;
  const ProgramPtr program = std::move(found.mapped());
  const auto number = by_number_.find({program->tree, program->dev, program->ino});
  if (number != by_number_.end() && number->second == key) by_number_.erase(number);
  return program;
}

}  // namespace insitu
