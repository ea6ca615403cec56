#!/bin/sh
# Runs a command as the container of a pod runs it: as user 1000, below a root folder of its own that
# is read-only, and that holds this machine's programs and what is mounted there.
#
#   unshare --map-root-user --mount pod.sh ROOT [ro|rw OUTSIDE INSIDE]... -- COMMAND...
#
# ROOT is an empty folder. The mounts are the command's alone and end with it.
set -eu
root=$1
shift

# mount_at ro|rw OUTSIDE INSIDE
mount_at() {
  mkdir -p "$root$3"
  mount --rbind "$2" "$root$3"
  # The other flags stay as they are: a user namespace may not take them off.
  [ "$1" = rw ] ||
    mount -o "remount,bind,$(findmnt -fno VFS-OPTIONS -T "$root$3"),ro" "$root$3"
}

mount -t tmpfs pod "$root"
for folder in /bin /lib /lib64 /sbin; do
  if [ -L "$folder" ]; then
    cp -P "$folder" "$root/"
  elif [ -d "$folder" ]; then
    mount_at ro "$folder" "$folder"
  fi
done
mount_at ro /usr /usr
mount_at ro /etc /etc
mount_at rw /dev /dev
mount_at rw /proc /proc
while [ "$1" != -- ]; do
  mount_at "$1" "$2" "$3"
  shift 3
done
shift

mkdir -p "$root/outside" "$root/home/twotower"
cd "$root"
pivot_root . outside
cd /home/twotower # where the image begins
umount -l /outside
mount -o remount,bind,ro /
exec unshare --user --map-user=1000 --map-group=1000 "$@"
