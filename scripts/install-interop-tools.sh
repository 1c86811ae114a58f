#!/usr/bin/env bash
# Installs what interoperability tests need beside npm: grpcurl, ghz, Python clients, Chromium, curl, nghttp.
#
#   scripts/install-interop-tools.sh           clients
#   scripts/install-interop-tools.sh --bench   and the servers that benchmarks compare with
#
# TENSORWIRE_TOOLS names the folder for tools and virtual environments (default: .cache/tools in
# the checkout). What is there in the wanted version stays. What cannot be installed gets one line
# "not installed: NAME (WHY)" and the rest goes on: tests skip what is missing and count it, so the
# exit code is 0. Only a wrong option ends the script early.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
tools=${TENSORWIRE_TOOLS:-$root/.cache/tools}
requirements=$root/test/interop/requirements

bench=no
case "${1:-}" in
  "") ;;
  --bench) bench=yes ;;
  *) echo "unknown option $1; the options are: --bench" >&2; exit 2 ;;
esac

mkdir -p "$tools/bin" "$tools/log" || exit 2
# Two runs at once would write into the same virtual environments.
if command -v flock >/dev/null; then
  exec 9>"$tools/.lock"
  flock 9
fi

missing() { # NAME WHY
  echo "not installed: $1 ($2)"
}

# Last line of a log that says something, for the reason why an installation failed.
reason() { # LOG
  local line
  line=$(grep -iE '^(E:|ERROR|.*error:|.*cannot|.*failed|.*requires)' "$1" | tail -n 1 | cut -c 1-160)
  echo "${line:-$(tail -n 1 "$1" | cut -c 1-160)}; log: $1"
}

go_tool() { # NAME MODULE VERSION
  local stamp=$tools/bin/.$1 log=$tools/log/$1.log
  [ -x "$tools/bin/$1" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$2@$3" ] && return
  command -v go >/dev/null || { missing "$1" "needs Go, which is not on the PATH"; return; }
  echo "building $1 $3 ..."
  if GOBIN="$tools/bin" go install "$2@$3" >"$log" 2>&1; then
    printf '%s' "$2@$3" >"$stamp"
  else
    missing "$1" "$(reason "$log")"
  fi
}

venv() { # NAME [PYTHON]
  local folder=$tools/$1 python=${2:-python3} log=$tools/log/$1.log wanted
  wanted=$(cat "$requirements/$1.txt")
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] &&
    "$folder/bin/python" -c '' 2>/dev/null && return
  command -v "$python" >/dev/null || { missing "$1" "needs $python"; return; }
  # Debian's Python comes without the module that makes virtual environments.
  debian python3-venv "$python" -c 'import ensurepip, venv'
  echo "installing Python packages of $1: $(echo $wanted) ..."
  rm -f "$folder/.installed"
  if {
    # A virtual environment that works is kept, so that a new pin fetches only what it changes.
    { "$folder/bin/python" -m pip --version || "$python" -m venv --clear "$folder"; } &&
      "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$requirements/$1.txt"
  } >"$log" 2>&1; then
    printf '%s' "$wanted" >"$folder/.installed"
  else
    missing "$1" "$(reason "$log")"
  fi
}

debian() { # PACKAGE COMMAND-THAT-PROVES-IT...
  local package=$1 log=$tools/log/$1.log
  shift
  "$@" >/dev/null 2>&1 && return
  command -v apt-get >/dev/null || { missing "$package" "no apt-get; install it by hand"; return; }
  [ "$(id -u)" = 0 ] || { missing "$package" "needs root: apt-get install $package"; return; }
  echo "installing Debian's $package ..."
  local install=(apt-get install -y -qq --no-install-recommends "$package")
  export DEBIAN_FRONTEND=noninteractive
  # Lists of packages are fetched only when the install fails without: absent or out of date.
  "${install[@]}" >"$log" 2>&1 || { apt-get update -qq && "${install[@]}"; } >"$log" 2>&1 ||
    missing "$package" "$(reason "$log")"
}

row() { # NAME WHERE VERSION
  local where=${2#"$root/"}
  printf '%-18s %-28s %s\n' "$1" "${3:+$where}" "${3:-not installed}"
}

first_line() { "$@" 2>/dev/null | head -n 1; }

venv_versions() { # NAME
  [ -e "$tools/$1/.installed" ] || return
  sed -E 's/[[<>=!~].*//' "$requirements/$1.txt" | "$tools/$1/bin/python" -c '
import sys
from importlib.metadata import version
print(" ".join(f"{name.strip()} {version(name.strip())}" for name in sys.stdin if name.strip()))'
}

go_tool grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl v1.9.3
go_tool h2spec github.com/summerwind/h2spec/cmd/h2spec v2.2.1+incompatible
go_tool connectconformance connectrpc.com/conformance/cmd/connectconformance v1.0.7
go_tool ghz github.com/bojand/ghz/cmd/ghz v0.120.0
venv triton
venv kserve
debian chromium command -v chromium
debian nghttp2-client command -v h2load
debian curl command -v curl
if [ $bench = yes ]; then
  venv mlserver
  # PyTriton's model stub loads with the distribution's own Python only.
  venv pytriton /usr/bin/python3
fi

echo
grpcurl_version=
[ -x "$tools/bin/grpcurl" ] && grpcurl_version=$(sed 's/.*@//' "$tools/bin/.grpcurl" 2>/dev/null)
go_version() { # NAME
  [ -x "$tools/bin/$1" ] && sed 's/.*@//' "$tools/bin/.$1" 2>/dev/null
}
row TOOL WHERE VERSION
row grpcurl "$tools/bin/grpcurl" "$grpcurl_version"
row h2spec "$tools/bin/h2spec" "$(go_version h2spec)"
row connectconformance "$tools/bin/connectconformance" "$(go_version connectconformance)"
row ghz "$tools/bin/ghz" "$(go_version ghz)"
row chromium "$(command -v chromium)" "$(first_line chromium --version)"
row h2load "$(command -v h2load)" "$(first_line h2load --version)"
venvs="triton kserve"
[ $bench = yes ] && venvs="$venvs mlserver pytriton"
for name in $venvs; do row "$name (Python)" "$tools/$name" "$(venv_versions $name)"; done
exit 0
