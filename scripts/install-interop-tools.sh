#!/usr/bin/env bash
# Installs what interoperability tests need beside npm: grpcurl, Python clients, Chromium, h2load.
# A tool that cannot be installed gets a line that says so, and its tests are skipped and counted.
#
#   scripts/install-interop-tools.sh           clients
#   scripts/install-interop-tools.sh --bench   and the servers that benchmarks compare with
#
# TENSORWIRE_TOOLS names the folder; by default .cache/tools in the checkout.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${TENSORWIRE_TOOLS:-$root/.cache/tools}
requirements=$root/test/interop/requirements
mkdir -p "$tools/bin"

missing() { echo "not installed: $1 ($2)"; }

go_tool() { # NAME MODULE@VERSION
  [ -x "$tools/bin/$1" ] && return
  command -v go >/dev/null || { missing "$1" "needs Go"; return; }
  echo "building $1 ..."
  GOBIN="$tools/bin" GOFLAGS= go install "$2" >"$tools/$1.log" 2>&1 || missing "$1" "see $tools/$1.log"
}

venv() { # NAME [PYTHON]
  local folder=$tools/$1 wanted
  wanted=$(cat "$requirements/$1.txt")
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && return
  command -v "${2:-python3}" >/dev/null || { missing "$1" "needs ${2:-python3}"; return; }
  echo "installing the Python packages of $1 ..."
  { "${2:-python3}" -m venv --clear "$folder" &&
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements/$1.txt" &&
    printf '%s' "$wanted" >"$folder/.installed"; } >"$tools/$1.log" 2>&1 || missing "$1" "see $tools/$1.log"
}

debian() { # COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then missing "$1" "install the package $2"; return; fi
  echo "installing $2 ..."
  if [ ! -e "$tools/.apt-updated" ]; then apt-get update -qq >"$tools/apt.log" 2>&1 && touch "$tools/.apt-updated"; fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >>"$tools/apt.log" 2>&1 ||
    missing "$1" "see $tools/apt.log"
}

go_tool grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
venv triton
venv kserve
debian chromium chromium
debian h2load nghttp2-client

if [ "${1:-}" = --bench ]; then
  venv mlserver
  debian /usr/bin/python3 python3-venv
  [ -e /usr/lib/python3/dist-packages ] && venv pytriton /usr/bin/python3
fi
exit 0
