// The first thing that sees a frame: it goes to the worker of its queue, to the kernel where the
// operator listed its protocol, or nowhere. It fails closed: a frame that no live socket wants is
// dropped, because a kernel that forwards would carry it from one tenant to another.
//
// `station` runs in XDP. `guard` runs behind it, where the kernel's stack begins (tcx ingress): whatever
// reaches that point without being on the operator's list has missed `station` (its link was taken off,
// or the frame came by a receive queue that has no program), and is dropped there.
//
// Needs only clang and the kernel's own headers (linux-libc-dev).

#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define ALWAYS_INLINE inline __attribute__((always_inline))

// How the loader reads a map's definition from BTF.
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, type) type *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;
static long (*bpf_xdp_adjust_meta)(struct xdp_md *context, int delta) = (void *)BPF_FUNC_xdp_adjust_meta;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NETWORK16(x) __builtin_bswap16(x)
#else
#define NETWORK16(x) (x)
#endif

// Ethertypes (IEEE 802). linux/if_ether.h has them too, but pulls in libc's byte order.
enum {
	ETHERTYPE_CTAG = 0x8100, // 802.1Q
	ETHERTYPE_STAG = 0x88a8, // 802.1ad
	ETHERTYPE_SLOW = 0x8809, // LACP and other slow protocols
	ETHERTYPE_EAPOL = 0x888e, // 802.1X
	ETHERTYPE_LLDP = 0x88cc,
};

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__u16 ethertype;
} __attribute__((packed));

// What the kernel still sees of this port: bits of `to_kernel`, set by the loader
// (src/port/af_xdp/program.rs has the same list).
enum {
	KERNEL_LACP = 1 << 0,
	KERNEL_LLDP = 1 << 1,
	KERNEL_EAPOL = 1 << 2,
	KERNEL_UNTAGGED = 1 << 3,
};

const volatile __u32 to_kernel = 0;

// Verdicts of tcx (linux/bpf.h has them since Linux 6.6).
enum {
	GUARD_NEXT = -1,
	GUARD_DROP = 2,
};

// One entry per verdict; src/port/af_xdp/program.rs reads them in this order.
enum counter {
	COUNT_REDIRECTED,
	COUNT_TO_KERNEL,
	COUNT_NO_SOCKET,
	COUNT_MALFORMED,
	COUNT_BYPASSED,
	COUNTERS,
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, COUNTERS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} counters SEC(".maps");

// The socket of each receive queue; the loader sets the size. The kernel removes a socket from it
// when the socket dies, however it dies.
struct {
	MAP_UINT(type, BPF_MAP_TYPE_XSKMAP);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} sockets SEC(".maps");

// Which frames for workers are stamped: the nonce of their stamps in the lower half, and the largest
// scattered number (see `stamp_some`) of those that are in the upper half. 0: none. The loader changes
// it while the program runs (src/port/stamp.rs says how).
volatile __u64 stamping = 0;

// What stands in front of a stamped frame's first octet, as metadata. AF_XDP copies it with the frame.
struct stamp {
	__u32 nonce;
	__u32 number;
	__u64 ns; // CLOCK_MONOTONIC
};

// Frames for the worker of each queue while frames are stamped: each has a number. The loader sets the
// size. CPUs that serve queues side by side do not share a cache line.
struct numbers {
	__u32 next;
	__u32 unused[31];
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct numbers);
} numbers SEC(".maps");

// 2^32 by the golden ratio: its multiples are spread evenly, and follow no period of the traffic.
#define SCATTER 0x9e3779b1u

// Gives a frame for the worker its number, and some of them the time. Where the driver leaves no room
// for metadata, or uses it itself, the frame goes without.
static ALWAYS_INLINE void stamp_some(struct xdp_md *context)
{
	__u64 rule = stamping;
	__u32 queue = context->rx_queue_index;
	struct numbers *numbers_of_queue;
	struct stamp *stamp;
	__u32 number;

	if (!rule)
		return;
	numbers_of_queue = bpf_map_lookup_elem(&numbers, &queue);
	if (!numbers_of_queue)
		return;
	// In generic mode several CPUs may serve one queue.
	number = __sync_fetch_and_add(&numbers_of_queue->next, 1);
	if (number * SCATTER > (__u32)(rule >> 32))
		return;
	if (bpf_xdp_adjust_meta(context, -(int)sizeof(*stamp)))
		return;
	stamp = (void *)(long)context->data_meta;
	if ((void *)(stamp + 1) > (void *)(long)context->data)
		return;
	stamp->nonce = (__u32)rule;
	stamp->number = number;
	stamp->ns = bpf_ktime_get_ns();
}

static ALWAYS_INLINE int verdict(int action, __u32 counter)
{
	__u64 *count = bpf_map_lookup_elem(&counters, &counter);

	if (count)
		(*count)++;
	return action;
}

static ALWAYS_INLINE int is_for_kernel(__u16 ethertype)
{
	switch (ethertype) {
	case NETWORK16(ETHERTYPE_CTAG):
	case NETWORK16(ETHERTYPE_STAG):
		return 0;
	case NETWORK16(ETHERTYPE_SLOW):
		return to_kernel & (KERNEL_LACP | KERNEL_UNTAGGED);
	case NETWORK16(ETHERTYPE_LLDP):
		return to_kernel & (KERNEL_LLDP | KERNEL_UNTAGGED);
	case NETWORK16(ETHERTYPE_EAPOL):
		return to_kernel & (KERNEL_EAPOL | KERNEL_UNTAGGED);
	default:
		return to_kernel & KERNEL_UNTAGGED;
	}
}

// What it looks at is in a frame's first buffer, of however many.
SEC("xdp.frags")
int station(struct xdp_md *context)
{
	const struct ethernet *ethernet = (void *)(long)context->data;
	const void *end = (void *)(long)context->data_end;

	// Shorter than an Ethernet header: nobody can make sense of it.
	if ((const void *)(ethernet + 1) > end)
		return verdict(XDP_DROP, COUNT_MALFORMED);

	// On the operator's list: the kernel's, and never the worker's.
	if (is_for_kernel(ethernet->ethertype))
		return verdict(XDP_PASS, COUNT_TO_KERNEL);

	// Everything else: to the worker of this queue.
	if (bpf_redirect_map(&sockets, context->rx_queue_index, XDP_DROP) == XDP_REDIRECT) {
		stamp_some(context);
		return verdict(XDP_REDIRECT, COUNT_REDIRECTED);
	}

	// The station is dead, starting, or has no socket on this queue: fail closed.
	return verdict(XDP_DROP, COUNT_NO_SOCKET);
}

SEC("classifier")
int guard(struct __sk_buff *frame)
{
	// The kernel has taken the outer tag out of a tagged frame by now, whoever received it. `protocol`
	// is then that of what stood behind the tag.
	if (!frame->vlan_present && is_for_kernel((__u16)frame->protocol))
		return GUARD_NEXT;

	// It missed the program: fail closed.
	return verdict(GUARD_DROP, COUNT_BYPASSED);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
