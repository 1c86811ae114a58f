#!/usr/bin/env bash
# Installs what interoperability tests need beside npm: grpcurl, ghz, Python clients, perf_analyzer, Chromium,
# curl, nghttp.
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

# Triton's load generator is built for glibc 2.38. Where the system's is older, it runs on the libraries of
# Debian 13, which lie in a folder of their own and are used by nothing else.
perf_analyzer() {
  local folder=$tools/perf-analyzer log=$tools/log/perf_analyzer.log program=$tools/bin/perf_analyzer
  local pin stamp=$tools/bin/.perf_analyzer
  pin=$(cat "$requirements/perf-analyzer.txt")
  [ "$(cat "$stamp" 2>/dev/null)" = "$pin" ] && "$program" --version >/dev/null 2>&1 && return
  # A system's own Python often comes without pip; a virtual environment has it.
  local python=$tools/triton/bin/python
  "$python" -c '' 2>/dev/null || python=python3
  command -v "$python" >/dev/null || { missing perf_analyzer "needs python3"; return; }
  echo "installing $pin ..."
  rm -rf "$folder" "$program" "$stamp"
  mkdir -p "$folder"
  if {
    # pip refuses what is built for a newer system, unless told which one to fetch for.
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
      --platform "manylinux_2_38_$(uname -m)" -r "$requirements/perf-analyzer.txt" -d "$folder" &&
      "$python" -m zipfile -e "$folder"/*.whl "$folder" && rm "$folder"/*.whl &&
      chmod +x "$folder/perf_analyzer/bin/perf_analyzer"
  } >"$log" 2>&1; then :; else
    missing perf_analyzer "$(reason "$log")"
    return
  fi
  # The program that tests call finds the rest beside itself, wherever the folder of tools lies.
  local command='"$tools/perf-analyzer/perf_analyzer/bin/perf_analyzer"'
  if ! "$folder/perf_analyzer/bin/perf_analyzer" --version >>"$log" 2>&1; then
    debian_13_libraries "$folder/debian-13" >>"$log" 2>&1 ||
      { missing perf_analyzer "needs glibc 2.38 or Debian's packages: $(reason "$log")"; return; }
    local libraries loader
    libraries=$(dirname "$(find "$folder/debian-13" -name libc.so.6)")
    loader=$(ls "$libraries"/ld-linux-*)
    libraries='$tools'${libraries#"$tools"} loader='$tools'${loader#"$tools"}
    command="\"$loader\" --library-path \"$libraries\" $command"
  fi
  printf '#!/bin/sh\ntools=$(cd "$(dirname "$0")/.." && pwd)\nexec %s "$@"\n' "$command" >"$program"
  chmod +x "$program"
  if "$program" --version >>"$log" 2>&1; then printf '%s' "$pin" >"$stamp"; else
    missing perf_analyzer "$(reason "$log")"
    rm "$program"
  fi
}

debian_13_libraries() { # FOLDER: unpacks them, from where this system has its packages from
  local folder=$1 uri
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return
  uri=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    sed -n 's/^Debian Debian //p' | head -n 1)
  [ -n "$uri" ] || { echo "error: no source of Debian's packages is known"; return 1; }
  mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
  printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' "$uri" \
    /usr/share/keyrings/debian-archive-keyring.gpg >"$folder/apt/debian-13.sources"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$folder/apt/debian-13.sources"
    -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt"
    -o "APT::Sandbox::User=$(id -un)")
  "${apt[@]}" update && (cd "$folder/apt" &&
    "${apt[@]}" download libc6 libstdc++6 libgcc-s1 libssl3t64 zlib1g libzstd1) || return
  local package
  for package in "$folder"/apt/*.deb; do dpkg -x "$package" "$folder" || return; done
  rm -rf "$folder/apt"
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
venv openai
perf_analyzer
debian chromium command -v chromium
debian nghttp2-client command -v h2load
debian curl command -v curl
if [ $bench = yes ]; then
  venv mlserver
  # PyTriton's model stub loads with the distribution's own Python only.
  venv pytriton /usr/bin/python3
  # A server and a proxy in C, for bench/proxies.
  debian nghttp2-server command -v nghttpd
  debian nghttp2-proxy command -v nghttpx
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
row perf_analyzer "$tools/bin/perf_analyzer" "$(sed 's/.*==//' "$tools/bin/.perf_analyzer" 2>/dev/null)"
row chromium "$(command -v chromium)" "$(first_line chromium --version)"
row h2load "$(command -v h2load)" "$(first_line h2load --version)"
venvs="triton kserve openai"
[ $bench = yes ] && venvs="$venvs mlserver pytriton"
for name in $venvs; do row "$name (Python)" "$tools/$name" "$(venv_versions $name)"; done
exit 0
