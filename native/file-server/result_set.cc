#include "result_set.h"

#include <algorithm>

#include "inputs.h"

namespace insitu {
namespace {

// About half a millisecond of stat calls, while the kernel holds the directory for the lookup.
constexpr size_t kMaxInputsAtLookup = 256;

}  // namespace

const ResultSet::Result* ResultSet::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(
      results, name, {}, [](const Result& result) { return std::string_view(result.name); });
  return found != results.end() && found->name == name ? &*found : nullptr;
}

bool ResultSet::holds() const {
  return !lost && inputs && inputs->size() <= kMaxInputsAtLookup && inputs->validate(Look::Look).holds;
}

}  // namespace insitu
