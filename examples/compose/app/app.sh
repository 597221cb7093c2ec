#!/bin/sh
# In the container. curl says why not, and fails, when it is refused.
set -eu
insitu() {
  curl --silent --show-error --fail-with-body --unix-socket /run/insitu/api.sock \
    "http://insitu/$1" --json "$2" >/tmp/answer || { cat /tmp/answer >&2; exit 1; }
}

insitu mount '{"volume":"datasets","at":"work/datasets","compute":true}'
trap 'insitu unmount "{\"at\":\"work/datasets\",\"force\":true}"' EXIT

cp /app/errors.ts /data/work/datasets/.compute
cat /data/work/datasets/.results/errors.json
