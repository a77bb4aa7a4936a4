#!/bin/busybox sh
# The first process of the emulated phone: the least that a system does before homingd runs. It decides nothing for a story.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
load() { while read -r module; do insmod "/lib/modules/$module" || echo "init: no $module" >/dev/kmsg; done <"$1"; }
load /etc/modules.first

ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

# The disk that outlives a power cut. Users, groups and folders as in sysusers.d/homing.conf and tmpfiles.d/homing.conf.
mount -t ext4 -o noatime /dev/vda /var/lib || echo "init: no disk" >/dev/kmsg
mkdir -p /var/lib/homing/siren /run/homing
chown homing:homing-siren /var/lib/homing /var/lib/homing/siren
chmod 0710 /var/lib/homing
chmod 2770 /var/lib/homing/siren
chown homing:homing /run/homing

# A supervisor: what ends is started again. Its log goes where the kernel stamps each line with the time since boot.
keep() {
    user=$1; shift
    while :; do
        su -s /bin/sh "$user" -c "exec $*" </dev/null >/dev/kmsg 2>&1
        echo "init: $* ended ($?)" >/dev/kmsg
        sleep 1
    done
}
simulator=
if grep -q simulator /proc/cmdline; then
    simulator=--allow-simulator
    keep homing "homing-sim --socket /run/homing/homing-sim.sock" &
fi
if [ ! -e /var/lib/homing/identity/identity.cbor ] && [ -e /boot/phone.homing ]; then
    homingd enrol /boot/phone.homing --yes $simulator >/dev/kmsg 2>&1
fi
keep homing "homingd agent $simulator" &
keep homing-siren "homingd siren --resident $simulator" &
# gpsd opens the receiver only when somebody asks for a position (no -n), as on a phone; by then it is no longer root.
# At a fixed speed: against an emulated port, its search for the receiver's speed takes minutes.
chown root:dialout /dev/ttyS0
chmod 0660 /dev/ttyS0
keep root "gpsd -N -b -s 9600 -S 2947 /dev/ttyS0" &
if grep -q sound /proc/cmdline; then
    load /etc/modules.sound
    tries=100
    while [ ! -e /dev/snd/controlC0 ] && [ $tries -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done
    # As udev does.
    chown root:audio /dev/snd/*
    chmod 0660 /dev/snd/*
fi

# The story types here. Kept open: a terminal forgets its settings when the last one closes it.
exec 3<>/dev/hvc0
stty -echo -onlcr <&3
echo ready >&3
# As a script, not at a prompt: nothing but what the commands print comes back.
while :; do sh /dev/hvc0 <&3 >&3 2>&3; done
