#!/usr/bin/env bash
# The part of `make test` that needs more than Python: Node for the extension, a browser and a workbench for the
# end-to-end tests. What this machine cannot run is left out and named in the last line; with CI set that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
setup=tests/e2e/setup_workbench.sh
make=${MAKE:-make}

leave_out() {
  echo "Left out: $1: $2"
  [ -z "${CI:-}" ] || exit 1
  exit 0
}

# Runs the set-up; its last line on stderr says what is missing. Other failures than "cannot be had here" are errors.
can() {
  local status=0
  reason=$("$setup" "$@" 2>&1 >&3) || status=$?
  [ $status = 0 ] || [ $status = 3 ] || { echo "$reason" >&2; exit $status; }
  reason=$(tail -1 <<<"$reason")
  return $status
} 3>&1

can node || leave_out "the extension's checks and tests, and the end-to-end tests" "$reason"
"$make" --no-print-directory extension
can || leave_out "the end-to-end tests" "$reason"
"$make" --no-print-directory e2e
GRADWATCH_PAGE=1 .venv/bin/python -m pytest tests/test_export_html.py
tests/e2e_notebook/setup_notebook.sh newest || leave_out "the notebook's end-to-end tests" "JupyterLab could not be installed"
"$make" --no-print-directory notebook-e2e KERNELS=newest
