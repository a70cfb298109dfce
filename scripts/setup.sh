#!/usr/bin/env bash
# Installs the Debian packages that this machine lacks. Does nothing, and needs no network, where
# all are there.
#
#   scripts/setup.sh               what building and testing need
#   scripts/setup.sh --build-only  what building needs
set -euo pipefail

packages=(g++ make cmake ninja-build ccache nlohmann-json3-dev libsimdjson-dev libzstd-dev
          libutf8proc-dev libpcre2-dev libssl-dev)
case "${1:-}" in
  --build-only) ;;
  "") packages+=(git pkg-config python3 libgtest-dev clang-format clang-19 libfuzzer-19-dev libclang-rt-19-dev) ;;
  *) echo "usage: scripts/setup.sh [--build-only]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "setup: this is no Debian system; please install: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: as root, run: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "setup: done"
