// SPDX-License-Identifier: MIT
// Writes numbered frames and sends them out of an interface: run by BPF_PROG_RUN with live frames, in
// one long call. It keeps the pace itself: a run that is too early sends nothing, so that the gaps
// between frames are as even as the kernel's batches (a few microseconds) let them be.

#include "wire.h"

// Fixed point: 1/1024 ns.
#define FRACTION 10
#define SIZES 16

const volatile __u32 interface;
const volatile __u32 stream;
const volatile __u64 interval;     // between frames, 1/1024 ns; 0: as fast as it can
const volatile __u64 catch_up;     // 1/1024 ns: older debts are forgiven, not sent as a burst
const volatile __u32 stamp_every;  // every n-th frame carries the time
const volatile __u32 longest;      // octets of the frame that BPF_PROG_RUN was given
const volatile __u32 sizes;        // frames of the cycle below
const volatile __u16 size[SIZES];  // octets of each, tag included, without FCS
const volatile __u32 tagged;
const volatile __u32 first_vlan, vlans;
const volatile __u32 first_source, sources; // host byte order
const volatile __u32 first_destination, destinations;
const volatile __u8 source_mac[6], destination_mac[6];

struct state {
	__u64 due;       // when the next frame is, 1/1024 ns; 0: not begun
	__u64 sent;      // also the next sequence number
	__u64 octets;
	__u64 forgiven;  // 1/1024 ns of debts
	__u64 failed;    // frames that were too short for their headers: never
	__u64 first, last; // when the first and the last stamped frame were sent, ns
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} state SEC(".maps");

struct frame {
	struct iphdr ip;
	struct udphdr udp;
	struct mark mark;
} __attribute__((packed));

static __always_inline __u16 header_checksum(const struct iphdr *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

SEC("xdp")
int generate(struct xdp_md *context)
{
	__u32 zero = 0;
	struct state *my = bpf_map_lookup_elem(&state, &zero);
	__u64 now;

	if (!my)
		return XDP_DROP;
	if (interval) {
		__u64 fine;

		now = bpf_ktime_get_ns();
		fine = now << FRACTION;
		if (!my->due)
			my->due = fine;
		if (fine < my->due)
			return XDP_DROP;
		if (fine - my->due > catch_up) {
			my->forgiven += fine - my->due;
			my->due = fine;
		}
		my->due += interval;
	}

	__u32 sequence = my->sent;
	__u32 length = size[(sequence % sizes) & (SIZES - 1)];
	if (length != longest && bpf_xdp_adjust_tail(context, (int)length - (int)longest)) {
		my->failed++;
		return XDP_DROP;
	}

	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct vlan *vlan = (void *)(ethernet + 1);
	struct frame *frame = tagged ? (void *)(vlan + 1) : (void *)(ethernet + 1);

	if ((void *)(vlan + 1) > end || (void *)(frame + 1) > end) {
		my->failed++;
		return XDP_DROP;
	}
	// Everything anew: the frame's memory comes back as the router left it.
#pragma unroll
	for (int i = 0; i < 6; i++) {
		ethernet->h_dest[i] = destination_mac[i];
		ethernet->h_source[i] = source_mac[i];
	}
	if (tagged) {
		ethernet->h_proto = bpf_htons(ETH_P_8021Q);
		vlan->tci = bpf_htons(first_vlan + (vlans > 1 ? sequence % vlans : 0));
		vlan->ethertype = bpf_htons(ETH_P_IP);
	} else {
		ethernet->h_proto = bpf_htons(ETH_P_IP);
	}
	__u16 packet = length - ((void *)&frame->ip - data);
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(packet),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = bpf_htonl(first_source + sequence % sources),
		.daddr = bpf_htonl(first_destination + sequence % destinations),
	};
	ip.check = header_checksum(&ip);
	frame->ip = ip;
	frame->udp.source = bpf_htons(1024 + (sequence & 1023));
	frame->udp.dest = bpf_htons(DISCARD);
	frame->udp.len = bpf_htons(packet - sizeof(struct iphdr));
	frame->udp.check = 0;
	now = 0;
	if (sequence % stamp_every == 0) {
		now = bpf_ktime_get_ns();
		if (!my->first)
			my->first = now;
		my->last = now;
	}
	frame->mark.magic = MAGIC;
	frame->mark.stream = stream;
	frame->mark.sequence = sequence;
	frame->mark.stamp_low = now;
	frame->mark.stamp_high = now >> 32;

	my->sent++;
	my->octets += length;
	return bpf_redirect(interface, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
