#!/usr/bin/env bash
# Installs what the notebook's end-to-end tests drive into build/notebook: JupyterLab with Notebook 7, and a kernel for
# each version of ipykernel named on the command line ("newest" too). Kernels use the library and torch of .venv.
# Exit status 3: it cannot be had on this machine; the last line says why.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=build/notebook
python=$PWD/.venv/bin/python
lab=$target/lab
lab_packages="jupyterlab>=4.6,<5 notebook>=7.6,<8 anywidget>=0.11,<0.12"

missing() {
  echo "$1" >&2
  exit 3
}

# $1: folder, the rest: packages. The stamp is what was asked for.
install_venv() {
  local folder=$1 wanted="${*:2}"
  [ "$(cat "$folder/.ready" 2>/dev/null)" = "$wanted" ] && return
  echo "Installing $wanted into $folder"
  rm -rf "${folder:?}"
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet "${@:2}" >"$folder.log" 2>&1 ||
    missing "pip could not install $wanted: $(grep -m1 ERROR "$folder.log" || tail -1 "$folder.log") ($folder.log)"
  echo "$wanted" >"$folder/.ready"
}

install_kernel() {
  local folder=$target/kernel-$1 specification=$lab/share/jupyter/kernels/ipykernel-$1
  install_venv "$folder" "ipykernel$([ "$1" = newest ] || echo "==$1")"
  "$python" -c "import sysconfig, pathlib; print(sysconfig.get_path('purelib'), pathlib.Path('kernel_ext').resolve(), sep='\n')" \
    >"$("$folder/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/zz_library.pth"
  mkdir -p "$specification"
  printf '{"argv": ["%s", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "ipykernel %s", "language": "python"}\n' \
    "$PWD/$folder/bin/python" "$1" >"$specification/kernel.json"
}

mkdir -p "$target"
# shellcheck disable=SC2086 # a list of words
install_venv "$lab" $lab_packages
for version in "$@"; do install_kernel "$version"; done
