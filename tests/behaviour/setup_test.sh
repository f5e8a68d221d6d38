#!/usr/bin/env bash
# tools/setup against a pip, a dpkg and an apt-get of our own: what it installs, keeps, repairs and refuses. No network.
# Usage: setup_test.sh     (run by ctest; prints each check, exit status 1 where one failed)
# shellcheck disable=SC2016,SC2317 # commands for another shell stand in quotes; `expect` calls the functions
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
failed=0

# expect WHAT COMMAND…
expect() {
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=1; fi
}

# A pip that installs two files and their RECORD, or downloads a wheel, counts its calls, and breaks off where
# $place/break exists.
mkdir -p "$place/fake/pip" "$place/bin" "$place/cache"
touch "$place/fake/pip/__init__.py"
cat >"$place/fake/pip/__main__.py" <<PYTHON
import os, pathlib, sys
open("$place/calls", "a").write("pip\n")
if sys.argv[1] == "download":
    pathlib.Path(sys.argv[sys.argv.index("--dest") + 1], "a-1.whl").write_text("wheel")
    sys.exit(0)
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
library = target / "torch/lib/libtorch_cpu.so"
library.parent.mkdir(parents=True)
library.write_bytes(b"x" * 1000)
if os.path.exists("$place/break"):
    os.remove("$place/break")
    os.kill(os.getppid(), 9)
    sys.exit(1)
(target / "torch-1.dist-info").mkdir()
recorded = 999 if os.path.exists("$place/wrong") else 1000
(target / "torch-1.dist-info/RECORD").write_text(f"torch/lib/libtorch_cpu.so,,{recorded}\n../../bin/tool,,5\n")
PYTHON

# packages_step CACHE: what tools/setup does for one requirements file; prints the folder.
packages_step() {
  env XDG_CACHE_HOME="$1" PYTHONPATH="$place/fake" TOOLS="$root/tools" bash -c '
    set -euo pipefail
    source "$TOOLS/setup"
    find_cache
    find_python
    ensure_python_packages "$TOOLS/requirements.txt" 1
    echo "$REPLY"'
}
calls() { grep -c pip "$place/calls" || true; }
is_whole() { [[ -n $1 && $(stat -c %s "$1/torch/lib/libtorch_cpu.so") == 1000 && -s $1/.complete.json ]]; }

touch "$place/calls" "$place/break"
status=0
packages_step "$place/cache" >/dev/null 2>&1 || status=$?
expect "an install can be killed" [ $status -ne 0 ]
expect "a killed install leaves no folder that looks complete" [ -z "$(find "$place/cache" -name '.complete.json')" ]
folder=$(packages_step "$place/cache" 2>/dev/null)
expect "the next set-up installs it completely" is_whole "$folder"
expect "and leaves nothing partial" [ -z "$(find "$place/cache/strata" -name '*.partial' -o -name '*.tmp' -o -name '*.old')" ]

before=$(calls)
packages_step "$place/cache" >/dev/null 2>&1
expect "a whole folder is not installed again" [ "$(calls)" = "$before" ]

truncate -s 999 "$folder/torch/lib/libtorch_cpu.so"
said=$(packages_step "$place/cache" 2>&1 >/dev/null)
expect "a truncated file is noticed" [ "${said/torch\/lib\/libtorch_cpu.so has 999 bytes, expected 1000/}" != "$said" ]
expect "and repaired" is_whole "$folder"

rm "$folder/torch/lib/libtorch_cpu.so"
said=$(packages_step "$place/cache" 2>&1 >/dev/null)
expect "a missing file is noticed" [ "${said/torch\/lib\/libtorch_cpu.so is missing/}" != "$said" ]
expect "and repaired" is_whole "$folder"

for stamp in '' '{' '[]' '{"format": 1}' '{"format": 1, "path": 3, "files": {"a": 5}}'; do
  before=$(calls)
  echo "$stamp" >"$folder/.complete.json"
  packages_step "$place/cache" >/dev/null 2>&1
  expect "a stamp that reads '$stamp' is not trusted" [ "$(calls)" = $((before + 1)) ]
done

mv "$place/cache" "$place/moved"
before=$(calls)
folder=$(packages_step "$place/moved" 2>/dev/null)
expect "a moved cache whose content is right is kept" [ "$(calls)" = "$before" ]
expect "and its stamp has the new path" grep -q "\"path\": \"$folder\"" "$folder/.complete.json"

mv "$place/moved" "$place/again"
printf 'y' | dd of="$place/again/strata/$(basename "$folder")/torch/lib/libtorch_cpu.so" conv=notrunc status=none
before=$(calls)
folder=$(packages_step "$place/again" 2>/dev/null)
expect "a moved cache with changed bytes is installed again" [ "$(calls)" = $((before + 1)) ]
expect "with the right bytes" [ "$(tr -d x <"$folder/torch/lib/libtorch_cpu.so")" = "" ]

touch "$place/wrong"
rm -rf "$folder"
status=0
said=$(packages_step "$place/again" 2>&1 >/dev/null) || status=$?
rm "$place/wrong"
expect "an install that pip's own RECORD contradicts fails" [ $status -ne 0 ]
expect "and is not put in place" [ ! -e "$folder" ]

before=$(calls)
packages_step "$place/again" >"$place/first" 2>/dev/null &
packages_step "$place/again" >"$place/second" 2>/dev/null
wait
expect "two set-ups at once install once" [ "$(calls)" = $((before + 1)) ]
expect "and agree" cmp -s "$place/first" "$place/second"

# ---- what is imported out of a wheel: by an importer of our own, in a checkout of our own
mkdir -p "$place/root/tools" "$place/cache"
touch "$place/root/tools/import_gguf.py"
cat >"$place/root/tools/import_some.py" <<'PYTHON'
import pathlib, sys
folder = pathlib.Path(sys.argv[-1])
if sys.argv[1] == "--check":
    whole = sys.argv[2] == "family" and folder.is_dir() and (folder / "file").read_text() == "wheel"
    print(f"{folder}: file is not the file that was written")
    sys.exit(0 if whole else 1)
assert sys.argv[1] == "family"
folder.mkdir(exist_ok=True)
(folder / "file").write_text(pathlib.Path(sys.argv[2]).read_text())
PYTHON
import_step() {
  env XDG_CACHE_HOME="$place/cache" PYTHONPATH="$place/fake" TOOLS="$root/tools" ROOT="$place/root" bash -c '
    set -euo pipefail
    source "$TOOLS/setup"
    STRATA_ROOT=$ROOT STRATA_PACKAGES=$PYTHONPATH
    find_cache
    find_python
    ensure_imported "$STRATA_CACHE/some/folder" 1 some==1 import_some.py family'
}
imported=$place/cache/strata/some/folder/file
before=$(calls)
import_step >/dev/null 2>&1
expect "a wheel is downloaded and imported" [ "$(calls) $(<"$imported")" = "$((before + 1)) wheel" ]
expect "and not kept" [ -z "$(find "$place/cache" -name '*.whl')" ]
import_step >/dev/null 2>&1
expect "what was imported is not imported again" [ "$(calls)" = $((before + 1)) ]
echo >>"$place/root/tools/import_some.py"
import_step >/dev/null 2>&1
expect "nor where another importer finds it whole" [ "$(calls)" = $((before + 1)) ]
printf 'whee!' >"$imported"
said=$(import_step 2>&1 >/dev/null)
expect "damage is noticed" [ "${said/file is not the file that was written; making it again/}" != "$said" ]
expect "and repaired" [ "$(calls) $(<"$imported")" = "$((before + 2)) wheel" ]

# ---- Debian's packages: dpkg-query that knows only cmake, no sudo, no root
printf '#!/bin/sh\necho "cmake=installed mold=config-files "; exit 1\n' >"$place/bin/dpkg-query"
printf '#!/bin/sh\nexit 1\n' >"$place/bin/sudo"
chmod +x "$place/bin/dpkg-query" "$place/bin/sudo"
# EUID is readonly in bash, so the refusal is asked for where apt-get is missing: the path holds only what is needed.
for tool in dirname pwd env; do ln -s "$(command -v $tool)" "$place/bin/$tool"; done
status=0
said=$(PATH=$place/bin TOOLS=$root/tools "$BASH" -c 'set -euo pipefail; source "$TOOLS/setup"; install_packages cmake mold git' 2>&1) || status=$?
expect "missing packages that cannot be installed are an error" [ $status -ne 0 ]
expect "that names exactly them" [ "${said%%$'\n'*}" = "error: these Debian packages are missing: mold git" ]
expect "and the command" [ "${said##*hint: }" = "run: sudo apt-get install --no-install-recommends mold git" ]

status=0
said=$(env XDG_CACHE_HOME=/proc/nowhere TOOLS="$root/tools" bash -c 'set -euo pipefail; source "$TOOLS/setup"; find_cache' 2>&1) || status=$?
expect "a cache that cannot be created is an error" [ $status -ne 0 ]
expect "that says where" [ "${said%%$'\n'*}" = "error: cannot create /proc/nowhere/strata/models" ]

exit $failed
