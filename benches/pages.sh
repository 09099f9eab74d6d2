# shellcheck shell=sh
# Sourced: gives all programs of a comparison pages of one size.
#
# same_pages MIB    reserves so much memory in huge pages of 2 MiB while the script runs, and sets BENCH_PAGES=2m: DPDK takes
#                   what is reserved, the station's tables ask for transparent ones, and so does glibc's malloc for the others.
#                   Where that cannot be had (not root, no free memory in pieces that large, transparent ones switched off),
#                   it says so and sets BENCH_PAGES=4k: then nobody gets any.
#
# The reservation is given back when the script ends, by a process of its own where it is killed.

same_pages() {
    pages=/sys/kernel/mm/hugepages/hugepages-2048kB
    export BENCH_PAGES=4k
    if [ ! -w "$pages/nr_hugepages" ] || grep -qs '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled; then
        echo "huge pages cannot be reserved here (not root?) or are switched off: all have small pages" >&2
        return 0
    fi
    pages_before=$(cat "$pages/nr_hugepages")
    # shellcheck disable=SC2016
    setsid sh -c 'tail --pid="$1" -f /dev/null; echo "$2" >"$3"' same_pages "$$" "$pages_before" "$pages/nr_hugepages" \
        </dev/null >/dev/null 2>&1 &
    pages_keeper=$!
    trap 'kill "$pages_keeper"; echo "$pages_before" >"$pages/nr_hugepages"' EXIT
    trap 'exit 1' INT TERM HUP
    for cache in keep drop; do
        [ "$cache" = keep ] || echo 1 >/proc/sys/vm/drop_caches
        echo 1 >/proc/sys/vm/compact_memory
        echo $((pages_before + $1 / 2)) >"$pages/nr_hugepages"
        if [ "$(cat "$pages/free_hugepages")" -ge $(($1 / 2)) ]; then
            export BENCH_PAGES=2m GLIBC_TUNABLES=glibc.malloc.hugetlb=1
            return 0
        fi
    done
    echo "$pages_before" >"$pages/nr_hugepages"
    echo "no $1 MiB of huge pages can be reserved: all have small pages" >&2
}
