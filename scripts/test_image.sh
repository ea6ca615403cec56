#!/usr/bin/env bash
# Builds the Dockerfile as it is, then runs a node of the pipeline and Beam's worker pool in the image.
#
#   scripts/test_image.sh           with podman or docker, whichever works; 25 GB of free disk
#   scripts/test_image.sh --check   builds nothing; says what is missing, or exits with 0
#
# Where the base images cannot be pulled, they are made: Debian by debootstrap, with this machine's
# Python 3.11 in it, and Beam's entry point by Go from its source. That takes root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly tag=twotower-test
readonly needed_disk_gb=25 # podman held 23 at once: every layer as files, in the image and packed

exec 3>&2 # the terminal, also where a step's own output goes to the log

say() { echo "$*" >&3; }

# The first program that can run containers here; podman's configuration is that of this script.
find_engine() {
  local candidate
  for candidate in podman docker; do
    if command -v "$candidate" >/dev/null && "$candidate" info >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

# Says what is missing here, and fails; or sets `engine`.
check() {
  local free_kb
  engine=$(find_engine) || { echo "no podman or docker that can run containers here" && return 1; }
  if [[ $engine == podman && ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
    command -v runc >/dev/null || { echo "no runc, and crun takes cgroups of version 2 only" && return 1; }
  fi
  free_kb=$(df -Pk "${TMPDIR:-/tmp}" | awk 'NR == 2 { print $4 }')
  ((free_kb >= needed_disk_gb * 1024 * 1024)) ||
    { echo "needs $needed_disk_gb GB of free disk in ${TMPDIR:-/tmp}" && return 1; }
  can_pull || can_make
}

can_make() {
  local program
  ((EUID == 0)) || { echo "the base images cannot be pulled, and making them takes root" && return 1; }
  for program in debootstrap go; do
    command -v "$program" >/dev/null ||
      { echo "the base images cannot be pulled, and there is no $program to make them" && return 1; }
  done
}

# Podman keeps everything in the folder of this run, on a machine without systemd too.
configure_podman() {
  local runtime=crun
  command -v runc >/dev/null && runtime=runc # crun takes cgroups of version 2 only
  cat >"$work/containers.conf" <<EOF
[containers]
netns = "host"
default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
[engine]
runtime = "$runtime"
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
  cat >"$work/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
EOF
  export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
}

# Prints the default of a build argument.
default() { sed -n "s/^ARG $1=//p" Dockerfile; }

can_pull() { timeout 60 "$engine" manifest inspect "$(default PYTHON_IMAGE)" >/dev/null 2>&1; }

# Debian 13 with a compiler and this machine's Python 3.11, which was built for an older Debian.
make_python_image() {
  local root=$work/debian mirror base
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | head -n 1)
  debootstrap --variant=minbase \
    --include=ca-certificates,g++,libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8t64,libsqlite3-0,libssl3t64,libuuid1,passwd,zlib1g \
    trixie "$root" "$mirror"
  base=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
  tar -C "$base" --exclude=site-packages --exclude=__pycache__ --exclude=python3.11/test \
    -c bin/python3.11 include lib | tar -C "$root/usr/local" -x --no-same-owner
  ln -s python3.11 "$root/usr/local/bin/python"
  ln -s python3.11 "$root/usr/local/bin/python3"
  # The certificates that this machine trusts, for pip.
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  chroot "$root" ldconfig
  chroot "$root" python3.11 -m ensurepip --default-pip
  chroot "$root" python3.11 -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, uuid'
  tar -C "$root" -c . | "$engine" import \
    --change ENV=SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    --change ENV=PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    - twotower-test-python >/dev/null
  rm -rf "$root"
}

# Beam's entry point of a container, of the locked version.
make_beam_image() {
  local root=$work/beam version
  version=$(default BEAM_IMAGE)
  GOBIN=$root/bin CGO_ENABLED=0 \
    go install "github.com/apache/beam/sdks/v2/python/container@v${version##*:}"
  mkdir -p "$root/opt/apache/beam"
  mv "$root/bin/container" "$root/opt/apache/beam/boot"
  tar -C "$root" -c opt | "$engine" import - twotower-test-beam >/dev/null
}

make_base_images() {
  say "Making the base images, since $(default PYTHON_IMAGE) cannot be pulled"
  make_python_image >>"$work/log" 2>&1
  make_beam_image >>"$work/log" 2>&1
  build_args=(
    --build-arg PYTHON_IMAGE=localhost/twotower-test-python
    --build-arg BUILD_IMAGE=localhost/twotower-test-python
    --build-arg BEAM_IMAGE=localhost/twotower-test-beam
  )
}

finish() {
  local status=$?
  ((status == 0)) || tail -n 20 "$work/log" >&3
  "$engine" rmi --force "$tag" >/dev/null 2>&1 || true
  umount "$work/storage/overlay" 2>/dev/null || true # podman's own mount of it
  rm -rf "$work"
}

main() {
  check >&3 || exit 1
  scripts/setup.sh dev
  work=$(mktemp -d)
  trap finish EXIT
  if [[ $engine == podman ]]; then configure_podman; fi
  build_args=()
  can_pull || make_base_images
  say "Building the image with $engine"
  SECONDS=0
  "$engine" build --network=host "${build_args[@]}" --tag "$tag" . >>"$work/log" 2>&1
  say "Built in $((SECONDS / 60)) min: $("$engine" images --format '{{.Size}}' "$tag")"
  .venv/bin/python -m pytest tests/e2e/check_image.py --image="$engine:$tag"
}

if [[ ${1:-} == --check ]]; then check; else main; fi
