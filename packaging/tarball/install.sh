#!/bin/sh
# Installs Homing from an unpacked tarball, for systems without its package. As root: ./install.sh
set -eu
[ "$(id -u)" = 0 ] || { echo "install.sh: only root can install" >&2; exit 77; }
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
list=/usr/share/homing/installed

install -d /usr/share/homing
(cd "$here/tree" && find . -type f | sed 's|^\.||') >"$list.new"
while read -r file; do
    mode=0644
    if [ -x "$here/tree$file" ]; then mode=0755; fi
    case $file in
        # What an administrator has changed is not written over; the new one lies beside it.
        /etc/*)
            if [ -e "$file" ] && ! cmp -s "$here/tree$file" "$file"; then
                install -D -m "$mode" "$here/tree$file" "$file.new"
                continue
            fi
            rm -f "$file.new" ;;
    esac
    install -D -m "$mode" "$here/tree$file" "$file"
done <"$list.new"
mv "$list.new" "$list"

if command -v systemd-sysusers >/dev/null && [ -d /run/systemd/system ]; then
    systemd-sysusers homing.conf
    systemd-tmpfiles --create homing.conf
    systemctl daemon-reload
    systemctl enable --now homingd-agent.service homingd-siren.path homingd-actor.socket
    systemctl enable homing-lost-resume.service
    # In every user's session, from its next start on.
    systemctl --global enable homingd-reserve.path
    # An upgrade: the agent of before still runs. A siren ends by itself when it has sounded.
    systemctl try-restart homingd-agent.service homingd-actor.service homing-lost-screen.service
else
    # busybox and shadow spell these differently.
    getent group homing-siren >/dev/null || groupadd -r homing-siren 2>/dev/null || addgroup -S homing-siren
    getent group homing >/dev/null || groupadd -r homing 2>/dev/null || addgroup -S homing
    getent passwd homing >/dev/null || useradd -r -g homing -G homing-siren -d /var/lib/homing -s /sbin/nologin homing 2>/dev/null ||
        { adduser -S -D -H -G homing -h /var/lib/homing homing && addgroup homing homing-siren; }
    getent passwd homing-siren >/dev/null || useradd -r -g homing-siren -G audio -d /var/lib/homing/siren -s /sbin/nologin homing-siren 2>/dev/null ||
        { adduser -S -D -H -G homing-siren -h /var/lib/homing/siren homing-siren && addgroup homing-siren audio; }
    for group in homing-lost homing-actor; do
        getent group $group >/dev/null || groupadd -r $group 2>/dev/null || addgroup -S $group
    done
    getent passwd homing-lost >/dev/null || useradd -r -g homing-lost -d / -s /sbin/nologin homing-lost 2>/dev/null ||
        adduser -S -D -H -G homing-lost -h / homing-lost
    for group in homing-actor video input tty; do
        usermod -a -G $group homing-lost 2>/dev/null || addgroup homing-lost $group 2>/dev/null || true
    done
    usermod -a -G homing-actor homing 2>/dev/null || addgroup homing homing-actor
    install -d -o homing -g homing-siren -m 0710 /var/lib/homing
    install -d -o homing -g homing-siren -m 2770 /var/lib/homing/siren
    install -d -m 0711 /var/lib/homing-actor
    install -d -o root -g root -m 0755 /var/lib/homing-actor/shown
    if command -v rc-update >/dev/null; then
        rc-update add homingd-siren default
        rc-update add homingd-agent default
        rc-update add homingd-actor boot
        rc-update add homing-lost boot
        rc-update add homing-lost-screen boot
        if [ -d /run/openrc ]; then
            # An upgrade: both of before still run, and a siren that sounds goes on. A phone without an account has
            # no agent to start.
            rc-service homingd-siren restart
            rc-service homingd-agent restart || true
            rc-service homingd-actor restart
            rc-service homing-lost-screen restart || true
        fi
    fi
fi
# A disk that asks for a passphrase shows a lost phone's message before that, from its next initial RAM disk on.
if [ -e /usr/share/initramfs-tools/hooks/cryptroot ] && grep -Eqs '^[[:space:]]*[^#[:space:]]' /etc/crypttab; then
    update-initramfs -u || echo "install.sh: no initial RAM disk could be made: a lost phone shows no message before the passphrase" >&2
elif [ -d /usr/share/mkinitfs/hooks ] && command -v mkinitfs >/dev/null; then
    mkinitfs || echo "install.sh: no initial RAM disk could be made: a lost phone shows no message before the passphrase" >&2
fi
echo "Homing is installed. Join an account with: homingd enrol BUNDLE"
