// SPDX-License-Identifier: MIT
// A host's VLAN interface without 8021q (not every kernel has it): pushes the host's tags on what
// its stack sends, pops them from what it receives, and counts both exactly. Frames with other tags
// never reach the stack. Attached by clsact to the host's end of its veth.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Who sent a marked datagram: the index of the host in lab.py.
#define ORIGINS 32

struct tags {
	__u16 tpid;  // of the outer tag
	__u16 outer;
	__u16 inner; // 0: one tag
	__u16 pad;
};

struct counts {
	__u64 sent;            // frames the host sent, raw ones included
	__u64 received;        // frames with exactly the host's tags
	__u64 other;           // frames with other tags, or none
	__u64 inner;           // frames out of a tunnel of the host's
	__u64 marked[ORIGINS]; // UDP datagrams that start with MARK, by the origin that follows it
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tags);
} tags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counts SEC(".maps");

// "STN!" in network order: the first octets of a datagram that is counted and not delivered.
#define MARK 0x53544e21

// The origin of a marked datagram, or -1. The tags are gone: IP begins at octet 14.
static __always_inline int origin(struct __sk_buff *skb)
{
	struct { __be32 mark; __u8 origin; } __attribute__((packed)) payload;
	__u32 at = ETH_HLEN;
	__u8 octet;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, at + 9, &octet, 1) || octet != IPPROTO_UDP)
			return -1;
		if (bpf_skb_load_bytes(skb, at, &octet, 1))
			return -1;
		at += (octet & 15) * 4;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, at + 6, &octet, 1) || octet != IPPROTO_UDP)
			return -1;
		at += 40;
	} else {
		return -1;
	}
	if (bpf_skb_load_bytes(skb, at + 8, &payload, sizeof(payload)))
		return -1;
	return payload.mark == bpf_htonl(MARK) ? payload.origin : -1;
}

SEC("tc")
int egress(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct counts *count = bpf_map_lookup_elem(&counts, &zero);
	struct tags *tag = bpf_map_lookup_elem(&tags, &zero);
	__be16 type;

	if (!count || !tag)
		return TC_ACT_SHOT;
	// TCP hands down several frames as one, which are cut apart behind this program.
	__sync_fetch_and_add(&count->sent, skb->gso_segs ? skb->gso_segs : 1);
	// Frames that a test tagged itself leave as they are.
	if (bpf_skb_load_bytes(skb, 12, &type, 2) == 0 &&
	    (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)))
		return TC_ACT_OK;
	if (tag->inner && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), tag->inner))
		return TC_ACT_SHOT;
	if (bpf_skb_vlan_push(skb, bpf_htons(tag->tpid), tag->outer))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

// Whether the outermost tag is this one; the kernel has moved it out of the frame by now.
static __always_inline int tagged(struct __sk_buff *skb, __u16 tpid, __u16 vid)
{
	return skb->vlan_present && skb->vlan_proto == bpf_htons(tpid) &&
	       (skb->vlan_tci & 0xfff) == vid;
}

// A marked datagram is counted; what else comes is the stack's.
static __always_inline int deliver(struct __sk_buff *skb, struct counts *count)
{
	int from = origin(skb);

	if (from < 0)
		return TC_ACT_OK;
	__sync_fetch_and_add(&count->marked[from & (ORIGINS - 1)], 1);
	return TC_ACT_SHOT;
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct counts *count = bpf_map_lookup_elem(&counts, &zero);
	struct tags *tag = bpf_map_lookup_elem(&tags, &zero);

	if (!count || !tag)
		return TC_ACT_SHOT;
	if (!tagged(skb, tag->tpid, tag->outer) || bpf_skb_vlan_pop(skb))
		goto other;
	if (tag->inner && (!tagged(skb, ETH_P_8021Q, tag->inner) || bpf_skb_vlan_pop(skb)))
		goto other;
	if (skb->vlan_present)
		goto other;
	__sync_fetch_and_add(&count->received, 1);
	return deliver(skb, count);
other:
	__sync_fetch_and_add(&count->other, 1);
	return TC_ACT_SHOT;
}

// For a device of the host's behind which frames come out of a tunnel.
SEC("tc")
int inner(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct counts *count = bpf_map_lookup_elem(&counts, &zero);

	if (!count)
		return TC_ACT_SHOT;
	// TCP's may be several in one by now.
	__sync_fetch_and_add(&count->inner, skb->gso_segs ? skb->gso_segs : 1);
	return deliver(skb, count);
}

char _license[] SEC("license") = "MIT";
