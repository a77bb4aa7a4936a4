#!/bin/sh
# Installs, upgrades and removes the tarball inside a root of its own, and says what it left. As root:
# trial-tarball.sh ROOT TARBALL   ROOT is a fresh minimal Debian with openrc. Nothing outside of it is touched.
set -eu
# The processes' file system of the root goes with the mounts of this one shell.
[ "${HOMING_TRIAL_MOUNTS:-}" = own ] || HOMING_TRIAL_MOUNTS=own exec unshare -m "$0" "$@"
root=$1
fail() { echo "trial: $*" >&2; exit 1; }
inside() { chroot "$root" "$@"; }
state() { (cd "$root" && find etc usr var/lib run -xdev -print | sort; cut -d: -f1,6 etc/passwd | sort; cut -d: -f1,4 etc/group | sort); }
mount -t proc proc "$root/proc"
mkdir -p "$root/trial"
tar -xzf "$2" -C "$root/trial" --strip-components=1
# The accounts' files of before are kept by the tools that change them.
inside sh -c 'for file in passwd group shadow gshadow subuid subgid; do touch /etc/$file /etc/$file-; done'
state >"$root/trial/before"

inside /trial/install.sh >/dev/null || fail "installation failed"
inside homingd check-config || fail "the shipped configuration is refused"
[ "$(inside stat -c %U:%G:%a /var/lib/homing/siren)" = homing:homing-siren:2770 ] || fail "the siren's folder is wrong"
[ -L "$root/etc/runlevels/default/homingd-siren" ] || fail "the siren is not in its runlevel"

echo '# an administrator was here' >>"$root/etc/homing/homingd.toml"
echo '# and here' >>"$root/etc/init.d/homingd-siren"
inside /trial/install.sh >/dev/null || fail "the upgrade failed"
grep -q 'administrator was here' "$root/etc/homing/homingd.toml" || fail "the upgrade wrote over a changed configuration"
grep -q 'and here' "$root/etc/init.d/homingd-siren" || fail "the upgrade wrote over a changed script"
[ -x "$root/etc/init.d/homingd-siren.new" ] || fail "the new script does not lie beside the changed one"
[ -e "$root/etc/init.d/homingd-agent.new" ] && fail "an unchanged script has a second one beside it"

mkdir -p "$root/var/lib/homing/identity"
touch "$root/var/lib/homing/identity/identity.cbor"
if inside /trial/uninstall.sh --purge </dev/null >/dev/null 2>&1; then fail "an enrolled phone without a PIN let itself be removed"; fi
printf '135790\n135790\n' | inside homingd pin set >/dev/null || fail "no PIN could be set"
if inside /trial/uninstall.sh --purge </dev/null >/dev/null 2>&1; then fail "an enrolled phone let itself be removed unasked"; fi
echo 135790 | inside /trial/uninstall.sh --purge >/dev/null || fail "the removal failed"
# Folders that were there for nobody else are left: a tarball's list names files.
state | grep -v -x -F -f "$root/trial/before" >"$root/trial/left" || true
grep -i homing "$root/trial/left" && fail "removing left this behind"
echo "trial: the tarball was installed, upgraded, refused and removed"
