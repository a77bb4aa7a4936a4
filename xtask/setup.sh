# Sourced by ./demo and ./test: finds or installs Rust and a C compiler. It builds and runs nothing of the project itself.

say() { printf 'homing: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# apt PACKAGE...: installs Debian packages, as root only; fails elsewhere.
apt() {
    [ "$(id -u)" = 0 ] && have apt-get || return 1
    say "installing $* with apt-get"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } >/dev/null
}

wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

# rust_fits: is there a cargo, and a rustc at least as new as Cargo.toml asks for?
rust_fits() {
    have cargo && have rustc || return 1
    found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2)
    [ "$(printf '%s\n%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" = "$wanted" ]
}

# install_rust: by rustup where the network allows; else Debian's own compiler for its browsers, which is kept new.
install_rust() {
    say "installing Rust with rustup (into ~/.cargo and ~/.rustup)"
    have curl || apt curl ca-certificates || true
    if have rustup; then
        rustup toolchain install stable --profile minimal -c clippy -c rustfmt >&2 && export RUSTUP_TOOLCHAIN=stable
    elif have curl; then
        script=$(curl --proto '=https' --tlsv1.2 -fsS --connect-timeout 20 https://sh.rustup.rs) &&
            printf '%s\n' "$script" | sh -s -- -y -q --profile minimal -c clippy -c rustfmt --no-modify-path >&2
    fi
    rust_fits || apt rustc-web cargo-web rustfmt-web || true
}

PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
export PATH
rust_fits || install_rust || true
rust_fits || stop "Rust $wanted or newer is needed and could not be installed here: get it from https://rustup.rs, then run this again."

have cc || apt gcc libc6-dev || true
have cc || stop "a C compiler is needed (SQLite and ring are built from C): install gcc and libc6-dev (Debian), gcc and musl-dev (Alpine, postmarketOS) or gcc (Fedora, Arch), then run this again."
