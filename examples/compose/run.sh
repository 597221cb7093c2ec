#!/bin/sh
# What compose.yaml says, with plain podman; as root.
set -eu
cd "$(dirname "$0")"
runtime=${INSITU_RUNTIME_DIR:-/run/insitu}
exec podman run --rm --network none --user 100000:100000 \
  --volume "$runtime/homes/acme:/data" \
  --volume "$runtime/tenants/acme:/run/insitu:ro" \
  --volume "$PWD/app:/app:ro" \
  --entrypoint sh "${IMAGE:-docker.io/curlimages/curl:8.11.1}" /app/app.sh
