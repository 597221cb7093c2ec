#pragma once

#include <cstddef>
#include <cstdint>

// Feeds one input to a session of its own, with a real scratch directory and the virtual layer with
// a program behind it. Aborts when a request is not answered or something outside the directory was
// touched.
//
// An input is a byte of options and then frames, each: opcode, node, options, size, and that many
// bytes of body. Nodes and handles that the session gave out are named by how long ago that was, so
// that sequences make sense often.
void fuzz_session(const uint8_t* data, size_t size);
