#!/bin/bash
# Offers traffic to a router by the kernel's pktgen, one thread per core: for two real servers. See station-operations(7).
set -euo pipefail

usage() {
    cat >&2 <<'END'
usage: scripts/pktgen.sh --interface IF --destination-mac MAC [OPTION...]
  --source-mac MAC        default: the interface's own
  --vlans FIRST[-LAST]    802.1Q tags; the cores share them out; default: untagged
  --outer-vlan ID         a second 802.1Q tag outside of them
  --sources FIRST-LAST    IPv4 addresses, drawn at random; default 10.1.0.1-10.1.0.254
  --destinations F-L      likewise; default 198.18.1.1-198.18.1.254
  --size OCTETS|imix      with FCS, without tags: 64 to 1518; imix is 7x64, 4x570, 1x1518; default 64
  --cores FIRST[-LAST]    default 0
  --rate PPS              of all cores together; default: as fast as they can
  --seconds N             default 10
  --dry-run               print what would be written to /proc/net/pktgen, and do nothing
END
    exit 2
}

die() {
    printf 'pktgen.sh: %s\n' "$*" >&2
    exit 1
}

# range NAME TEXT MIN MAX: sets `first` and `last` from N or N-M.
range() {
    first=${2%%-*} last=${2##*-}
    [[ $first =~ ^[0-9]+$ && $last =~ ^[0-9]+$ ]] || die "$1: $2 is not a number or FIRST-LAST"
    ((10#$first >= $3 && 10#$first <= 10#$last && 10#$last <= $4)) || die "$1: write $3 to $4, the smaller first"
}

number() {
    [[ $2 =~ ^[0-9]+$ ]] || die "$1: $2 is not a number"
    ((10#$2 >= $3 && 10#$2 <= $4)) || die "$1: $2 is not $3 to $4"
}

interface='' source_mac='' destination_mac='' vlans='' outer='' size=64 cores=0 rate='' seconds=10 dry=''
sources=10.1.0.1-10.1.0.254 destinations=198.18.1.1-198.18.1.254
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=1 && shift && continue ;;
    --interface | --source-mac | --destination-mac | --vlans | --outer-vlan | --sources | --destinations | --size | \
        --cores | --rate | --seconds) [ $# -ge 2 ] || usage ;;
    *) usage ;;
    esac
    case $1 in
    --interface) interface=$2 ;;
    --source-mac) source_mac=$2 ;;
    --destination-mac) destination_mac=$2 ;;
    --vlans) vlans=$2 ;;
    --outer-vlan) outer=$2 ;;
    --sources) sources=$2 ;;
    --destinations) destinations=$2 ;;
    --size) size=$2 ;;
    --cores) cores=$2 ;;
    --rate) rate=$2 ;;
    --seconds) seconds=$2 ;;
    esac
    shift 2
done
if [ -z "$interface" ] || [ -z "$destination_mac" ]; then usage; fi

for mac in "$destination_mac" ${source_mac:+"$source_mac"}; do
    [[ $mac =~ ^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$ ]] || die "$mac is not a MAC address"
done
for addresses in "$sources" "$destinations"; do
    [[ $addresses =~ ^[0-9.]+-[0-9.]+$ ]] || die "$addresses: write two IPv4 addresses as FIRST-LAST"
done
[ "$size" = imix ] || number --size "$size" 64 1518
number --seconds "$seconds" 1 86400
[ -z "$rate" ] || number --rate "$rate" 1 1000000000
tags=0
if [ -n "$outer" ]; then
    [ -n "$vlans" ] || die "--outer-vlan: give --vlans too"
    number --outer-vlan "$outer" 1 4094
    tags=1
fi
vids=('')
if [ -n "$vlans" ]; then
    range --vlans "$vlans" 1 4094
    mapfile -t vids < <(seq "$first" "$last")
    tags=$((tags + 1))
fi
range --cores "$cores" 0 4095
mapfile -t threads < <(seq "$first" "$last")
# Every core has at least one tag, and every tag at least one core.
count=$((${#vids[@]} > ${#threads[@]} ? ${#vids[@]} : ${#threads[@]}))

proc=/proc/net/pktgen
if [ -z "$dry" ]; then
    [ "$(id -u)" -eq 0 ] || die "needs root"
    [ -d /sys/class/net/"$interface" ] || die "there is no interface $interface"
    if [ ! -d $proc ] && ! modprobe -q pktgen 2>/dev/null; then
        die "this kernel has no pktgen module (CONFIG_NET_PKTGEN). Use the project's own generator, which also counts
what is lost, doubled, reordered and late (station-operations(7), \"A 10G port\"):
    cargo build --release --workspace
    target/release/wire-bench trial --from $interface --to IFACE2 --destination-mac $destination_mac"
    fi
fi

# put FILE COMMAND: one command for pktgen; it answers a wrong one with an error of write(2).
put() {
    if [ -n "$dry" ]; then
        printf '%s: %s\n' "$1" "$2"
    else
        printf '%s\n' "$2" >"$proc/$1" || die "pktgen refused \"$2\" for $1: $(grep -s '^Result' "$proc/$1")"
    fi
}

put pgctrl reset
names=()
for ((i = 0; i < count; i++)); do
    core=${threads[i % ${#threads[@]}]} vid=${vids[i % ${#vids[@]}]}
    # A name behind @ tells several flows of one interface apart; here, its number.
    name=$interface@$i
    names+=("$name")
    put "kpktgend_$core" "add_device $name"
    put "$name" "count 0"
    put "$name" "flag QUEUE_MAP_CPU" # core k sends on queue k
    put "$name" "flag NO_TIMESTAMP"
    # pktgen counts octets with tags and without FCS.
    if [ "$size" = imix ]; then
        put "$name" "imix_weights $((60 + 4 * tags)),7 $((566 + 4 * tags)),4 $((1514 + 4 * tags)),1"
    else
        put "$name" "pkt_size $((10#$size - 4 + 4 * tags))"
        # The same packet several times before a new one is made: else making it would be the limit.
        put "$name" "clone_skb 16"
        put "$name" "burst 16"
    fi
    put "$name" "dst_mac $destination_mac"
    [ -z "$source_mac" ] || put "$name" "src_mac $source_mac"
    put "$name" "src_min ${sources%-*}"
    put "$name" "src_max ${sources#*-}"
    put "$name" "flag IPSRC_RND"
    put "$name" "dst_min ${destinations%-*}"
    put "$name" "dst_max ${destinations#*-}"
    put "$name" "flag IPDST_RND"
    put "$name" "udp_src_min 1024"
    put "$name" "udp_src_max 65535"
    put "$name" "flag UDPSRC_RND" # for the spread over the router's queues
    put "$name" "udp_dst_min 9"
    put "$name" "udp_dst_max 9"
    [ -z "$vid" ] || put "$name" "vlan_id $vid"
    [ -z "$outer" ] || put "$name" "svlan_id $outer"
    [ -z "$rate" ] || put "$name" "ratep $(((10#$rate + count - 1) / count))"
done
if [ -n "$dry" ]; then
    put pgctrl start
    exit
fi

# `start` returns when all is sent, that is after `stop`.
trap 'echo stop >$proc/pgctrl 2>/dev/null || true' EXIT
put pgctrl start &
sleep "$seconds"
echo stop >$proc/pgctrl
wait
trap - EXIT
total=0
for name in "${names[@]}"; do
    pps=$(sed -n 's/^[[:space:]]*\([0-9]*\)pps .*/\1/p' "$proc/$name")
    printf '%-24s %12s pps\n' "$name" "${pps:-0}"
    total=$((total + ${pps:-0}))
done
printf '%-24s %12s pps\n' total "$total"
put pgctrl reset
