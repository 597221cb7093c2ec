// What is seen of files before and after an operation, and of a whole tree.
#pragma once

#include <optional>
#include <string>

#include "side.h"

struct Seen {
  int error = 0;
  struct stat st{};
};

// The objects that an operation touches, its directories among them.
struct Observation {
  struct Item {
    std::string what;
    Seen seen;
  };
  std::vector<Item> items;
  // Reading moves them or not by the hour (relatime) and by what is cached, so they are compared only
  // where they were set.
  bool access_times = false;
};

Observation observe(const Side& side, const Operation& operation);
// How `after` looks, and which times moved since `before`.
std::string text_of(const Observation& before, const Observation& after);

// The first difference between two trees; nothing when they are the same.
std::optional<std::string> compare_trees(const std::string& left, const std::string& right);
