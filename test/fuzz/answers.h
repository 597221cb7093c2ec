#pragma once

#include <cstdint>

// What stands in TypeScript's place (answers.cc): each request that goes up gets one of a few
// answers, chosen by its number and the input's first byte.
void answers_begin(uint8_t seed);
// How many requests were left waiting so far.
uint64_t answers_held();
