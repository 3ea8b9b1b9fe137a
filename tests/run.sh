#!/usr/bin/env bash
# Format, lint and every test, on a machine that has Rust (with rustfmt and clippy), a C compiler, Python 3.11 and Node 20.
# `redis-server` is installed from the system's packages where it is missing and that is allowed; STOKEHOLD_WITHOUT_REDIS=1 leaves its tests out.
# The official SDKs are installed by the tests themselves, once, beside the build's own files. STOKEHOLD_WITHOUT_CLIENTS=1 leaves
# them out. A cold run compiles for minutes; a second one takes about two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

heading() { printf '\n== %s\n' "$*"; }
fail() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }

# at_least PROGRAM MAJOR.MINOR: what it says as its version is that or later.
at_least() {
  local said
  said=$("$1" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1) || return 1
  [ "$(printf '%s\n%s\n' "$2" "$said" | sort -V | head -n 1)" = "$2" ]
}

one_at_least() {
  local least=$1 program
  shift
  for program in "$@"; do
    if at_least "$program" "$least"; then return 0; fi
  done
  return 1
}

heading 'what this machine has'
at_least cargo 1.90 || fail 'Rust 1.90 or later is needed: https://rustup.rs'
cargo fmt --version >/dev/null 2>&1 || fail 'rustfmt is missing: rustup component add rustfmt'
cargo clippy --version >/dev/null 2>&1 || fail 'clippy is missing: rustup component add clippy'
command -v cc >/dev/null || fail 'a C compiler is missing: the ledger is built from C'
if [ "${STOKEHOLD_WITHOUT_CLIENTS:-0}" = 1 ]; then
  echo 'the official SDKs are left out, as STOKEHOLD_WITHOUT_CLIENTS=1 says'
else
  one_at_least 3.11 python3 python3.14 python3.13 python3.12 python3.11 ||
    fail 'Python 3.11 or later is needed for the official SDKs (STOKEHOLD_WITHOUT_CLIENTS=1 leaves them out)'
  one_at_least 20.0 node nodejs ||
    fail 'Node 20 or later is needed for the official SDKs (STOKEHOLD_WITHOUT_CLIENTS=1 leaves them out)'
  command -v npm >/dev/null || fail 'npm is missing: it comes with Node (STOKEHOLD_WITHOUT_CLIENTS=1 leaves the SDKs out)'
fi
if [ "${STOKEHOLD_WITHOUT_REDIS:-0}" = 1 ]; then
  echo 'tests with Redis are left out, as STOKEHOLD_WITHOUT_REDIS=1 says'
elif ! command -v redis-server >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends redis-server; } ||
      fail 'redis-server could not be installed (STOKEHOLD_WITHOUT_REDIS=1 leaves its tests out)'
  else
    fail 'redis-server is missing: apt-get install redis-server (STOKEHOLD_WITHOUT_REDIS=1 leaves its tests out)'
  fi
fi
rustc --version

heading 'format'
cargo fmt --all --check || fail 'cargo fmt would change the files above'

heading 'lint'
cargo clippy --locked --workspace --all-targets -- -D warnings || fail 'clippy complains, see above'

heading 'test'
cargo test --locked --workspace || fail 'a test failed, see above'
