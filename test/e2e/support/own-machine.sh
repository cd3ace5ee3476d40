#!/bin/sh
# own-machine.sh DIRECTORY [SHARED]: boots this machine's own systemd, in the namespaces it is started in, on a copy of this machine's root
# that is thrown away, with the directory SHARED at /srv/shared. Needs root, and namespaces of mounts, processes, cgroups and
# network. Nothing of this machine is configured: the units that do that are not started.
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -o bind,ro /proc/sys proc/sys
rm -rf etc/systemd/system/*.wants lib/systemd/system/*.target.wants
mkdir lib/systemd/system/sysinit.target.wants
ln -s ../systemd-journald.service lib/systemd/system/sysinit.target.wants/
ip link set lo up
# No chroot: in one, nobody may make a namespace of users.
pivot_root . mnt
if [ -n "${2:-}" ]; then
  mkdir -p /srv/shared
  mount --bind "/mnt$2" /srv/shared
fi
umount --lazy /mnt
# As systemd does where it believes that it has a whole machine.
mount --make-rshared /
exec env -i container=own PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target
