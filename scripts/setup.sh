# What scripts/demo and scripts/test need before they can start. Sourced by them, from the
# repository's root.
# shellcheck shell=bash

# clang and the headers build the XDP program; bird2 speaks BGP for the station, and frr and gobgpd for
# customers of the lab; the rest is for the lab and the checks.
PACKAGES=(
    clang gcc libc6-dev libbpf-dev linux-libc-dev
    bird2 bpftool ethtool frr gobgpd iperf3 iproute2 iptables iputils-ping keepalived nfdump nftables pmacct prometheus python3 python3-scapy
    stayrtr tcpdump traceroute tshark util-linux
)
PYTHON=/usr/bin/python3

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# install_packages PACKAGE...: those that are missing, by apt-get; needs root for that.
install_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || die "missing Debian packages; as root: apt-get install ${missing[*]}"
    printf 'Installing %s\n' "${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >/dev/null || die "apt-get update failed"
    apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null || die "apt-get install failed"
}

# as_user COMMAND...: as the user who called sudo, so that target/ and ~/.cargo stay theirs.
as_user() {
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        sudo -u "$SUDO_USER" -H env "PATH=$PATH" "$@"
    else
        "$@"
    fi
}

# find_cargo: puts cargo into PATH, from where rustup installs it for the user who called sudo.
find_cargo() {
    local home needed have
    home=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
    export PATH="$home/.cargo/bin:$PATH:/usr/sbin:/sbin"
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(as_user cargo --version 2>/dev/null | cut -d' ' -f2)
    if [ -z "$have" ] || [ "$(printf '%s\n' "$needed" "$have" | sort -V | head -1)" != "$needed" ]; then
        die "needs Rust $needed or later (found: ${have:-none}; Debian 12's own is too old). Install it with
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
and run this again."
    fi
}
