# Common parts of the trials in a real cluster; sourced by them.
set -uo pipefail
cluster=${TENSORWIRE_CLUSTER:?names the folder of the scripts of a test cluster}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
passed=0 failed=0

k() { "$cluster/kubectl.sh" "$@"; }
in_cluster() { "$cluster/kubectl.sh" --exec "$@"; }

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then passed=$((passed + 1)); echo "ok   $what"; else failed=$((failed + 1)); echo "FAIL $what"; fi
}

within() { # SECONDS COMMAND...: tries until it succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 1
  done
}

says() { # PATTERN COMMAND...: whether its output has a line that matches
  local pattern=$1 output
  shift
  output=$("$@" 2>&1)
  grep -qE -- "$pattern" <<<"$output"
}

verdict() {
  echo "$passed passed, $failed failed"
  [ $failed = 0 ]
}
