#!/bin/sh
# postmarketOS's initial RAM disk, once its partitions are known and before the disk's passphrase: shows a lost phone's message.
blkid | grep -q 'TYPE="crypto_LUKS"' || exit 0
if mountpoint -q /boot; then
    exec sh /usr/lib/homing/before-passphrase /boot auto 120
fi
# As its own functions find it.
uuid=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^pmos[._]boot_uuid=//p' | head -n 1)
device=$(findfs "${uuid:+UUID=}${uuid:-LABEL=pmOS_boot}" 2>/dev/null)
[ -n "$device" ] || exit 0
type=$(blkid "$device" | sed -n 's/.* TYPE="\([a-z0-9]*\)".*/\1/p')
exec sh /usr/lib/homing/before-passphrase "$device" "${type:-ext2}" 120
