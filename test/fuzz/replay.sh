#!/bin/sh
# Links the fuzzed session from the objects of the ordinary build: replay.sh OUT CXXFLAGS...
set -eu
cd "$(dirname "$0")/../.."
out=$1
shift
objects=native/build/Release/obj.target
include="-I native -I $(node_modules/.bin/node -p "require('node-addon-api').include_dir") -I $(dirname "$(readlink -f node_modules/.bin/node)")/../include/node"
# Each once: a checkout that was built before can have those of `files` in the addon's folder too.
objects_of() {
  find "$objects/files" -name '*.o'
  (cd "$objects/insitu" && find file-server common -name '*.o') | while read -r object; do
    [ -e "$objects/files/$object" ] || echo "$objects/insitu/$object"
  done
}
# shellcheck disable=SC2046,SC2086 # words on purpose
${CXX:-g++} -std=c++20 -DNAPI_VERSION=9 -DNODE_ADDON_API_DISABLE_DEPRECATED $include "$@" -o "$out" \
  test/fuzz/session.cc test/fuzz/answers.cc test/fuzz/driver.cc \
  $(objects_of | grep -vE '(binding|/upcalls|/async_pool)\.o$') \
  -pthread -ffunction-sections -Wl,--gc-sections
