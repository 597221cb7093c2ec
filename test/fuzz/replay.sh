#!/bin/sh
# Links the fuzzed session from the objects of the ordinary build: replay.sh OUT CXXFLAGS...
set -eu
cd "$(dirname "$0")/../.."
out=$1
shift
objects=native/build/Release/obj.target/insitu
include="-I native -I $(node_modules/.bin/node -p "require('node-addon-api').include_dir") -I $(dirname "$(readlink -f node_modules/.bin/node)")/../include/node"
# shellcheck disable=SC2046,SC2086 # words on purpose
${CXX:-g++} -std=c++20 -DNAPI_VERSION=9 -DNODE_ADDON_API_DISABLE_DEPRECATED $include "$@" -o "$out" \
  test/fuzz/session.cc test/fuzz/answers.cc test/fuzz/driver.cc \
  $(find "$objects/file-server" "$objects/common" -name '*.o' ! -name '*binding.o' ! -name 'upcalls.o' ! -name async_pool.o) \
  -pthread -ffunction-sections -Wl,--gc-sections
