#!/usr/bin/env bash
# Makes an image of the package as it is published, with its Node and what native code links to, and loads it
# into a test cluster.
#
#   TENSORWIRE_CLUSTER=FOLDER test/cluster/make-image.sh dev.local/tensorwire:test [COMMAND]
#
# TENSORWIRE_CLUSTER is a folder of scripts that run a single-node cluster: mkimg.py and load.sh are used here.
# COMMAND is the command that the image runs without arguments, such as queue-proxy.
set -euo pipefail
cluster=${TENSORWIRE_CLUSTER:?names the folder of the scripts of a test cluster}
tag=$1 command=${2:-}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
node=$root/node_modules/node/bin/node

cd "$root"
"$node" scripts/build-client.mjs >/dev/null
"$node" scripts/build-server.mjs >/dev/null
npm pack --silent --pack-destination "$work" >/dev/null
mkdir "$work/app"
cp .npmrc "$work/app/"
echo '{ "private": true }' >"$work/app/package.json"
(cd "$work/app" && npm install --silent --no-audit --no-fund --omit=dev "$work"/tensorwire-*.tgz)
# Only this platform's engine.
ort=$work/app/node_modules/onnxruntime-node/bin
find "$ort" -mindepth 2 -maxdepth 2 -type d ! -name linux -exec rm -rf {} +
find "$ort" -mindepth 3 -maxdepth 3 -type d ! -name x64 -exec rm -rf {} +

engine=$(find "$ort" -name onnxruntime_binding.node)
library=$(dirname "$engine")
python3 "$cluster/mkimg.py" --tag "$tag" --out "$work/image.tar" \
  --bin "$node:/usr/local/bin/node" --bin "$engine:/app${engine#"$work/app"}" \
  --add "$work/app:/app" --env "LD_LIBRARY_PATH=/app${library#"$work/app"}" \
  --entrypoint /usr/local/bin/node /app/node_modules/tensorwire/bin/tensorwire.js $command \
  --user 1000 --workdir /tmp
"$cluster/load.sh" "$work/image.tar"
