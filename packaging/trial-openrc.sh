#!/bin/sh
# The OpenRC scripts in a root of its own: start, supervision after a kill, stop. As root: trial-openrc.sh ROOT
# ROOT is a minimal Debian with openrc and procps in which homingd is installed. Nothing outside of it is touched.
set -eu
root=$1
script='
set -eu
fail() { echo "trial: $*" >&2; exit 1; }
# What OpenRC makes at boot; a container has no boot.
for folder in starting started stopping inactive wasinactive failed hotplugged daemons options exclusive scheduled tmp; do
    mkdir -p /run/openrc/$folder
done
echo default >/run/openrc/softlevel
grep -q ^rc_sys= /etc/rc.conf || echo rc_sys=lxc >>/etc/rc.conf
# A minimal root mounts nothing; an upgrade restarts its services with all that they need.
printf "#!/sbin/openrc-run\nstart() { :; }\n" >/etc/init.d/localmount
chmod 755 /etc/init.d/localmount
siren() { pgrep -f "^/usr/bin/homingd siren" | head -n 1; }
# another PROCESS: is there a siren that is not this one? Asked once, because one may end between two looks.
another() { now=$(siren); [ -n "$now" ] && [ "$now" != "$1" ]; }
# wait_for CONDITION: a minute at most, looked at five times a second.
wait_for() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 300 ] || fail "never came: $1"; sleep 0.2; done; }

if rc-service --nodeps homingd-agent start 2>/run/said; then fail "an agent without an account was started"; fi
grep -q "homingd enrol BUNDLE" /run/said || fail "nothing said why the agent does not start"
rc-service --nodeps homingd-siren start || fail "the siren does not start"
wait_for "[ -n \"\$(siren)\" ]"
[ "$(ps -o user:20= -p "$(siren)")" = homing-siren ] || fail "the siren is not its own user"
first=$(siren)
kill -9 "$first"
wait_for "another $first"
# An upgrade must not leave the siren waiting with the program of before.
second=$(siren)
dpkg -i /tmp/homingd_*.deb >/run/said 2>&1 || fail "the upgrade failed: $(cat /run/said)"
wait_for "another $second"
rc-service --nodeps homingd-siren stop || fail "the siren does not stop"
wait_for "[ -z \"\$(siren)\" ]"
echo "trial: OpenRC starts, supervises, upgrades and stops"
'
# A process space of its own: what the script starts ends with it.
exec unshare -mpf sh -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && exec chroot "$1" sh -c "$2"' \
    trial "$root" "$script"
