#!/bin/sh
# Removes what install.sh has installed. As root: ./uninstall.sh [--purge]; --purge also deletes keys, journal and users.
set -eu
[ "$(id -u)" = 0 ] || { echo "uninstall.sh: only root can remove" >&2; exit 77; }
list=/usr/share/homing/installed
[ -e "$list" ] || { echo "uninstall.sh: Homing was not installed by install.sh" >&2; exit 78; }

if [ -e /var/lib/homing/identity/identity.cbor ]; then
    echo "This phone belongs to a Homing account: removing Homing needs the Homing PIN."
    if ! /usr/bin/homingd pin check; then
        echo "uninstall.sh: Homing stays. Without the PIN, let the phone leave its account first, which tells the owner:" >&2
        echo "  homingd status    (says what the phone is called)" >&2
        echo "  homingd leave NAME" >&2
        exit 77
    fi
fi
if [ -e /var/lib/homing-actor/shown/notice.json ]; then
    # Removed in between it would stay locked.
    echo "uninstall.sh: Homing stays: this phone is lost. Its owner ends that (homing lost NAME --off), or the owner's code." >&2
    exit 77
fi
if [ -e /var/lib/homing-actor/before.json ]; then
    echo "uninstall.sh: Homing stays: this phone was lost and is still being given back. Try again in a minute; why it takes" >&2
    echo "  so long homingd actor's log says." >&2
    exit 77
fi
if [ -d /run/systemd/system ]; then
    systemctl disable --now homingd-agent.service homingd-siren.path homingd-siren.service homingd-actor.socket \
        homingd-actor.service homing-lost-resume.service 2>/dev/null || true
    systemctl --global disable homingd-reserve.path 2>/dev/null || true
elif command -v rc-update >/dev/null; then
    for service in homingd-agent homingd-siren; do
        if [ -d /run/openrc ]; then rc-service "$service" stop || true; fi
        rc-update del "$service" default 2>/dev/null || true
    done
    for service in homing-lost-screen homing-lost homingd-actor; do
        if [ -d /run/openrc ]; then rc-service "$service" stop || true; fi
        rc-update del "$service" boot 2>/dev/null || true
    done
fi
while read -r file; do
    case $file in /etc/*) [ "${1:-}" = --purge ] || continue ;; esac
    rm -f "$file" "$file.new"
done <"$list"
rm -rf /usr/share/homing /usr/lib/homing /boot/homing /boot/efi/homing /boot/firmware/homing /efi/homing
for folder in hooks-extra files-extra; do rmdir "/usr/share/mkinitfs/$folder" 2>/dev/null || true; done
rmdir /usr/share/mkinitfs 2>/dev/null || true
if [ -e /usr/share/initramfs-tools/hooks/cryptroot ] && grep -Eqs '^[[:space:]]*[^#[:space:]]' /etc/crypttab; then
    update-initramfs -u || true
elif [ -d /usr/share/mkinitfs/hooks ] && command -v mkinitfs >/dev/null; then
    mkinitfs || true
fi
# Folders that nobody else has a file in.
for folder in /usr/share/doc/homing /usr/share/doc/homingd; do rmdir "$folder" 2>/dev/null || true; done
if [ "${1:-}" = --purge ]; then
    rm -rf /var/lib/homing /var/lib/homing-actor /etc/homing /run/homing /run/homing-actor /run/homing-lost /run/homing-level
    for user in homing homing-siren homing-lost homing-actor; do
        { userdel "$user" || deluser "$user"; } 2>/dev/null || true
        { groupdel "$user" || delgroup "$user"; } 2>/dev/null || true
    done
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
