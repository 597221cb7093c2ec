// Processes that perform operations on both sides, each as a user of its own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>

#include "operation.h"

struct Difference {
  size_t index;  // of the operation
  std::string text;
};

struct Settings {
  unsigned actors = 1;
  bool holes = true;
};

// One process an actor, in two equal directories, until destroyed.
class Actors {
 public:
  Actors(const Settings& settings, const std::string& left, const std::string& right);
  ~Actors();
  Actors(const Actors&) = delete;
  Actors& operator=(const Actors&) = delete;

  // Performs operations of one actor in a row; the index counts from the start of the span.
  std::optional<Difference> perform(std::span<const Operation> turn);

 private:
  struct Actor {
    pid_t pid;
    int commands;
    int answers;
  };
  std::vector<Actor> all_;
};
