// The entry point of libFuzzer.
#include "session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz_session(data, size);
  return 0;
}
