// SPDX-License-Identifier: MIT
// The in-kernel rival: forwards tagged IPv4 frames by the kernel's routing table of their VLAN, in
// native XDP. Only what every router must do: header checks, TTL, checksum, MACs and tag.

#include "wire.h"

const volatile __u32 in_vlan, out_vlan; // 0: untagged
const volatile __u32 table;             // the VLAN's routing table

SEC("xdp")
int forward(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct vlan *vlan = (void *)(ethernet + 1);
	struct iphdr *ip = in_vlan ? (void *)(vlan + 1) : (void *)vlan;

	if ((void *)(ip + 1) > end)
		return XDP_PASS;
	if (in_vlan) {
		if (ethernet->h_proto != bpf_htons(ETH_P_8021Q) || (vlan->tci & bpf_htons(0xfff)) != bpf_htons(in_vlan) ||
		    vlan->ethertype != bpf_htons(ETH_P_IP))
			return XDP_PASS;
	} else if (ethernet->h_proto != bpf_htons(ETH_P_IP)) {
		return XDP_PASS;
	}
	if (ip->version != 4 || ip->ihl != 5 || ip->ttl <= 1)
		return XDP_PASS;

	struct bpf_fib_lookup route = {
		.family = 2, // AF_INET
		.tos = ip->tos,
		.l4_protocol = ip->protocol,
		.tot_len = bpf_ntohs(ip->tot_len),
		.ipv4_src = ip->saddr,
		.ipv4_dst = ip->daddr,
		.ifindex = context->ingress_ifindex,
	};
	__u32 flags = 0;
	if (table) {
		route.tbid = table;
		flags = BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_TBID;
	}
	if (bpf_fib_lookup(context, &route, sizeof(route), flags) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_PASS;

	// RFC 1624: one less in the upper octet of a 16-bit word adds one there to the checksum.
	__u32 sum = ip->check + bpf_htons(0x0100);
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
	if (in_vlan)
		vlan->tci = bpf_htons(out_vlan);
	__builtin_memcpy(ethernet->h_dest, route.dmac, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, route.smac, ETH_ALEN);
	return bpf_redirect(route.ifindex, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
