// SPDX-License-Identifier: MIT
// Accounts for every measured frame that arrives, and drops it: `account_xdp` on a NIC, `account_skb`
// where frames arrive as socket buffers anyhow (the peer of a veth that a socket sends into).

#include "wire.h"

// The newest 2^21 sequence numbers of each stream are remembered one by one: at 10 Mpps a fifth of a
// second. A word has the numbers' common upper part above 32 bits, one for each of them.
#define WORDS 65536

// Latency: exact below 2^7 ns, then 128 steps for each power of two (at most 0.8% wide), up to 17 s.
#define STEP_BITS 7
#define BUCKETS ((34 - STEP_BITS + 1) << STEP_BITS)

struct stream {
	struct bpf_spin_lock lock;
	__u32 next;        // one above the highest sequence number seen
	__u64 received;    // distinct frames
	__u64 octets;      // of them
	__u64 duplicated;  // frames that had been received before
	__u64 reordered;   // frames that arrived after one with a higher number (RFC 4737), first copies
	__u64 stale;       // frames too old to tell
	__u64 furthest;    // how far behind the highest number a reordered frame was at most
	__u64 first, last; // when the first and the last stamped frame arrived, ns
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STREAMS);
	__type(key, __u32);
	__type(value, struct stream);
} streams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STREAMS * WORDS);
	__type(key, __u32);
	__type(value, __u64);
} windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} latencies SEC(".maps");

static __always_inline __u32 bucket(__u64 ns)
{
	__u32 power = 0;

	if (ns >> 34)
		ns = (1ull << 34) - 1;
	for (__u64 rest = ns >> STEP_BITS; rest && power < 27; rest >>= 1)
		power++;
	// `power` halvings leave 128 to 255, or less than 128 where it is 0.
	return power ? (power << STEP_BITS) + (__u32)(ns >> (power - 1)) - (1u << STEP_BITS) : (__u32)ns;
}

// Whether the octets are a measured frame, which is then accounted for.
static __always_inline int account(void *data, void *end, __u32 octets)
{
	struct ethhdr *ethernet = data;
	struct vlan *vlan = (void *)(ethernet + 1);

	if ((void *)(vlan + 1) > end)
		return 0;
	struct iphdr *ip = (void *)vlan;
	__be16 type = ethernet->h_proto;
	if (type == bpf_htons(ETH_P_8021Q)) {
		ip = (void *)(vlan + 1);
		type = vlan->ethertype;
	}
	struct udphdr *udp = (void *)(ip + 1);
	struct mark *mark = (void *)(udp + 1);
	if (type != bpf_htons(ETH_P_IP) || (void *)(mark + 1) > end || ip->protocol != IPPROTO_UDP ||
	    udp->dest != bpf_htons(DISCARD) || mark->magic != MAGIC || mark->stream >= STREAMS)
		return 0;

	__u32 key = mark->stream, sequence = mark->sequence;
	__u64 stamp = (__u64)mark->stamp_high << 32 | mark->stamp_low;
	struct stream *stream = bpf_map_lookup_elem(&streams, &key);
	key = key * WORDS + (sequence / 32) % WORDS;
	__u64 *word = bpf_map_lookup_elem(&windows, &key);
	if (!stream || !word)
		return 0;
	__u64 now = 0;
	if (stamp) {
		now = bpf_ktime_get_ns();
		key = bucket(now > stamp ? now - stamp : 0);
		__u64 *count = bpf_map_lookup_elem(&latencies, &key);
		if (count)
			__sync_fetch_and_add(count, 1);
	}

	// The upper part never is 0, so that a word of no frame is older than every other.
	__u64 upper = sequence / 32 / WORDS + 1, bit = 1ull << (sequence % 32);
	bpf_spin_lock(&stream->lock);
	if (now) {
		if (!stream->first)
			stream->first = now;
		stream->last = now;
	}
	if (*word >> 32 < upper)
		*word = upper << 32;
	if (*word >> 32 > upper) {
		stream->stale++;
	} else if (*word & bit) {
		stream->duplicated++;
	} else {
		*word |= bit;
		stream->received++;
		stream->octets += octets;
		if (sequence >= stream->next) {
			stream->next = sequence + 1;
		} else {
			__u64 behind = stream->next - 1 - sequence;

			stream->reordered++;
			if (behind > stream->furthest)
				stream->furthest = behind;
		}
	}
	bpf_spin_unlock(&stream->lock);
	return 1;
}

SEC("xdp")
int account_xdp(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;

	return account(data, end, end - data) ? XDP_DROP : XDP_PASS;
}

SEC("classifier")
int account_skb(struct __sk_buff *skb)
{
	// The octets of the tag, which the kernel has taken out, and enough for tagged headers and mark.
	__u32 tag = skb->vlan_present ? sizeof(struct vlan) : 0;

	if ((long)skb->data_end - (long)skb->data < 60 && bpf_skb_pull_data(skb, 60))
		return TC_ACT_OK;
	return account((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len + tag) ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";
