// SPDX-License-Identifier: MIT
// Counts and drops every IP frame with one VLAN tag that leaves the station by a port, before the
// lab's switch spends time on it: the receiver of the flood. Attached by clsact to the far end of
// the port's veth while a flood runs.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("tc")
int sink(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *count;

	// UDP to the discard port; neighbor resolution and everything else goes on.
	__be16 port;
	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN + 22, &port, 2) ||
	    port != bpf_htons(9))
		return TC_ACT_OK;
	count = bpf_map_lookup_elem(&counts, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "MIT";
