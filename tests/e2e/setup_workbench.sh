#!/usr/bin/env bash
# Installs what the end-to-end tests drive into build/workbench: Node 24 and VS Code's workbench (code-server), both
# from npm. Missing system packages are installed when apt and root are at hand. With the argument `node`: only a
# Node that is new enough for the extension's own tests, which the machine's may be.
# Exit status 3: it cannot be had on this machine; the last line says what is missing and how to get it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source=tests/e2e/install
target=build/workbench
node=$target/node/node_modules/.bin
what=${1:-all}

missing() {
  echo "$1" >&2
  exit 3
}

lacking_packages() {
  command -v npm >/dev/null && command -v node >/dev/null || echo nodejs npm
  [ "$what" = node ] && return
  [ -n "$(chromium_path)" ] || echo chromium
  [ -n "$(fc-list 2>/dev/null | head -1)" ] || echo fontconfig fonts-dejavu-core fonts-liberation
  if ! is_ready code_server; then
    [ -e /usr/include/gssapi/gssapi.h ] || echo libkrb5-dev
    command -v g++ >/dev/null && command -v make >/dev/null || echo build-essential
    command -v python3 >/dev/null || echo python3
  fi
}

chromium_path() {
  for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" && return
  done
  return 0
}

install_packages() {
  local packages
  packages=$(lacking_packages | tr '\n' ' ')
  [ -n "${packages// /}" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    missing "missing ${packages% } (Debian, Ubuntu: sudo apt-get install ${packages% }). Then: make e2e"
  fi
  echo "Installing ${packages% }"
  # shellcheck disable=SC2086 # a list of words
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } >build/apt.log 2>&1 ||
    missing "apt-get could not install ${packages% }: $(tail -1 build/apt.log) (build/apt.log). With a network: make e2e"
}

# The stamp is the lock file that was installed.
is_ready() {
  cmp -s "$source/$1/package-lock.json" "$target/$1/.ready"
}

# A folder each: npm removes from a folder whatever its package.json does not name.
install_from_npm() {
  is_ready "$1" && return
  echo "Installing $2 into $target/$1"
  rm -rf "${target:?}/$1"
  mkdir -p "$target/$1"
  cp "$source/$1/package.json" "$source/$1/package-lock.json" "$source/$1/.npmrc" "$target/$1"
  (cd "$target/$1" && npm ci --no-audit --no-fund --loglevel=error) >"$target/$1.log" 2>&1 ||
    missing "npm could not install $2: $(grep -m1 -iE 'error|not found' "$target/$1.log" || tail -1 "$target/$1.log") ($target/$1.log). With a network: make e2e"
  cp "$source/$1/package-lock.json" "$target/$1/.ready"
}

# What vitest asks for.
machine_node_serves() {
  command -v npm >/dev/null && command -v node >/dev/null &&
    node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)'
}

mkdir -p "$target"
[ "$what" = node ] && machine_node_serves && exit
case "$(uname -s) $(uname -m)" in
"Linux x86_64" | "Linux aarch64") ;;
*) missing "they run on Linux (x86_64, aarch64), and this is $(uname -s) $(uname -m)" ;;
esac
install_packages
install_from_npm node "Node 24 and npm (200 MB)"
[ "$what" = node ] && exit
# code-server checks for Node 24, and compiles two modules against its headers: those beside the program.
PATH=$PWD/$node:$PATH
npm_config_nodedir=$(dirname "$(dirname "$(readlink -f "$node/node")")")
export PATH npm_config_nodedir
install_from_npm code_server "VS Code's workbench (620 MB, compiles for a minute or two)"
