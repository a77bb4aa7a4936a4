#!/bin/sh
# Installs, upgrades, removes and purges the packages inside a root of its own, and says what each left. As root:
# trial.sh ROOT PACKAGE.deb...   ROOT is a fresh minimal Debian (mmdebstrap) with adduser, init-system-helpers, openrc.
set -eu
# The processes' file system of the root goes with the mounts of this one shell.
[ "${HOMING_TRIAL_MOUNTS:-}" = own ] || HOMING_TRIAL_MOUNTS=own exec unshare -m "$0" "$@"
root=$1; shift
fail() { echo "trial: $*" >&2; exit 1; }
inside() { chroot "$root" "$@"; }
# Everything the packages could touch, but for what every dpkg run changes.
state() { (cd "$root" && find etc usr var/lib run -xdev \( -path var/lib/dpkg -o -path etc/ld.so.cache -o -path run/adduser -o -path var/lib/systemd/deb-systemd-helper-enabled \) -prune -o -print 2>/dev/null | sort; sed 's/:[^:]*$//' etc/passwd | sort; cut -d: -f1,4 etc/group | sort); }

mount -t proc proc "$root/proc"
mkdir -p "$root/trial"
cp "$@" "$root/trial/"
# No supervisor runs in this root, and none may be started.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
state >"$root/trial/before"

inside sh -c 'dpkg -i /trial/*.deb' >/dev/null || fail "installation failed"
for path in usr/bin/homingd usr/bin/homing etc/homing/homingd.toml usr/lib/systemd/system/homingd-agent.service \
    usr/share/man/man8/homingd.8.gz usr/share/doc/homingd/copyright \
    usr/share/doc/homingd/third-party-notices.gz usr/share/doc/homing/sbom.cdx.json usr/share/bash-completion/completions/homing; do
    [ -e "$root/$path" ] || fail "/$path was not installed"
done
for link in homingd-agent.service homingd-siren.path homing-lost-resume.service; do
    [ -L "$root/etc/systemd/system/multi-user.target.wants/$link" ] || fail "$link is not enabled"
done
[ -L "$root/etc/systemd/user/paths.target.wants/homingd-reserve.path" ] || fail "no session gives the loudspeaker up"
[ "$(inside stat -c %U:%G:%a /var/lib/homing)" = homing:homing-siren:710 ] || fail "/var/lib/homing is not the agent's"
[ "$(inside stat -c %U:%G:%a /var/lib/homing/siren)" = homing:homing-siren:2770 ] || fail "the siren's folder is wrong"
[ -L "$root/etc/systemd/system/sockets.target.wants/homingd-actor.socket" ] || fail "nobody listens for the actor"
[ -x "$root/usr/lib/systemd/system-generators/homing-lost-generator" ] || fail "the generator cannot run"
[ "$(inside stat -c %U:%G:%a /var/lib/homing-actor)" = root:root:711 ] || fail "the actor's folder is wrong"
[ "$(inside stat -c %U:%G:%a /var/lib/homing-actor/shown)" = root:root:755 ] || fail "the notice's folder is wrong"
for group in homing-actor video tty; do
    inside id -nG homing-lost | grep -qw $group || fail "the lost phone's screen is not in the group $group"
done
inside id -nG homing | grep -qw homing-actor || fail "the agent cannot speak to the actor"
inside id -nG homing-siren | grep -qw audio || fail "the siren is not in the group audio"
inside homingd check-config || fail "the shipped configuration is refused"
inside homing --version >/dev/null || fail "homing does not run"

echo '# an administrator was here' >>"$root/etc/homing/homingd.toml"
inside sh -c 'dpkg -i --force-confold /trial/*.deb' >/dev/null || fail "the upgrade failed"
grep -q 'administrator was here' "$root/etc/homing/homingd.toml" || fail "the upgrade wrote over a changed configuration"

mkdir -p "$root/var/lib/homing/identity"
touch "$root/var/lib/homing/identity/identity.cbor"
if inside dpkg -r homingd </dev/null >/dev/null 2>&1; then fail "an enrolled phone without a PIN let itself be removed"; fi
printf '135790\n135790\n' | inside homingd pin set >/dev/null || fail "no PIN could be set"
if inside dpkg -r homingd </dev/null >/dev/null 2>&1; then fail "an enrolled phone let itself be removed unasked"; fi
if echo 135791 | inside dpkg -r homingd >/dev/null 2>&1; then fail "a wrong PIN removed homingd"; fi
[ -x "$root/usr/bin/homingd" ] || fail "the refused removals took homingd away"
touch "$root/var/lib/homing-actor/shown/notice.json"
if echo 135790 | inside dpkg -r homingd >/dev/null 2>&1; then fail "a lost phone let itself be removed"; fi
rm "$root/var/lib/homing-actor/shown/notice.json"
inside dpkg -r homing >/dev/null || fail "homing could not be removed"
# At a terminal, as somebody types it once the question is there; what is typed must not be shown.
answer() { n=0; until grep -q "Homing PIN: " "$root/trial/said" || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.2; done; echo 135790; }
: >"$root/trial/said"
answer | script -qefc "chroot '$root' dpkg -r homingd" "$root/trial/said" >/dev/null || fail "the right PIN did not remove homingd: $(cat "$root/trial/said")"
grep -q "The PIN is right" "$root/trial/said" || fail "nobody was asked: $(cat "$root/trial/said")"
grep -q 135790 "$root/trial/said" && fail "the PIN was shown on the terminal"
[ -e "$root/var/lib/homing/identity/identity.cbor" ] || fail "removal (without purge) took the keys"
[ -e "$root/usr/bin/homingd" ] && fail "removal left homingd"

inside dpkg --purge homingd homing >/dev/null 2>&1 || fail "purging failed"
state >"$root/trial/after"
diff "$root/trial/before" "$root/trial/after" || fail "purging left this behind (>) or took that away (<)"
echo "trial: installed, upgraded, refused, removed, purged: nothing left"
