// SPDX-License-Identifier: MIT
// What a measured frame carries, and what the programs and src/ share. A frame is Ethernet, up to one
// 802.1Q tag, IPv4, UDP to the discard port, and then this mark.

#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAGIC 0x57495245 // "WIRE"
#define DISCARD 9
#define STREAMS 16 // one per sending thread

struct mark {
	__u32 magic;
	__u32 stream;
	__u32 sequence; // counts from 0 in each stream
	__u32 stamp_low;  // CLOCK_MONOTONIC in ns when it was sent; 0: not stamped
	__u16 stamp_high;
} __attribute__((packed));

struct vlan {
	__be16 tci;
	__be16 ethertype;
} __attribute__((packed));
