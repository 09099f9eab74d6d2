/* DPDK's l3fwd in one file: its loop and its three lookups (rte_lpm, rte_fib, rte_fib6), which Debian does not ship,
 * with room for a full table and next hops that are MACs. Fed by any port of DPDK's; sends to the same port.
 *
 * Commands on stdin, a line each, answered by a line:
 *   io|lpm|fib|fib6 PACKETS    forwards at least so many; answers with the packets and the nanoseconds of processor time
 */
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_ip.h>
#include <rte_lpm.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BURST 32 /* l3fwd's */
#define PREFETCH 3
#define HOPS 16
#define MBUFS (1 << 17)
#define MAX_ROUTES (1 << 21)

static struct rte_lpm *lpm;
static struct rte_fib *fib;
static struct rte_fib6 *fib6;

/* The Ethernet header that each next hop gets, as l3fwd's val_eth. */
static struct rte_ether_hdr head[HOPS];

static void die(const char *what)
{
	fprintf(stderr, "l3fwd: %s\n", what);
	exit(1);
}

/* Lines of "ADDRESS-IN-HEX LENGTH HOP", 8 digits for IPv4 and 32 for IPv6. */
static void load(const char *path, int with_lpm)
{
	struct rte_fib_conf conf = {
		.type = RTE_FIB_DIR24_8, .default_nh = HOPS, .max_routes = MAX_ROUTES,
		.dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = 32767 },
	};
	struct rte_fib6_conf conf6 = {
		.type = RTE_FIB6_TRIE, .default_nh = HOPS, .max_routes = MAX_ROUTES,
		.trie = { .nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = 1 << 19 },
	};
	struct rte_lpm_config lpm_conf = { .max_rules = MAX_ROUTES, .number_tbl8s = 1 << 16 };
	fib = rte_fib_create("fib", SOCKET_ID_ANY, &conf);
	fib6 = rte_fib6_create("fib6", SOCKET_ID_ANY, &conf6);
	if (with_lpm)
		lpm = rte_lpm_create("lpm", SOCKET_ID_ANY, &lpm_conf);
	if (!fib || !fib6 || (with_lpm && !lpm))
		die("no memory for the tables");
	FILE *file = fopen(path, "r");
	if (!file)
		die("no routes");
	char digits[40];
	unsigned int len, hop;
	while (fscanf(file, "%39s %u %u", digits, &len, &hop) == 3) {
		if (strlen(digits) == 8) {
			uint32_t ip = strtoul(digits, NULL, 16);
			if (rte_fib_add(fib, ip, len, hop) != 0)
				die("rte_fib_add failed");
			if (lpm && rte_lpm_add(lpm, ip, len, hop) != 0)
				die("rte_lpm_add failed");
		} else {
			uint8_t ip[16];
			for (int i = 0; i < 16; i++)
				sscanf(digits + 2 * i, "%2hhx", ip + i);
			if (rte_fib6_add(fib6, ip, len, hop) != 0)
				die("rte_fib6_add failed");
		}
	}
	fclose(file);
}

/* The checks and the edit of l3fwd (rfc1812_process), and the header of the next hop. */
static inline int forward4(struct rte_mbuf *m, uint32_t hop)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || hop >= HOPS ||
	    (uint8_t)(ip->version_ihl - 0x45) > 0x0f - 5)
		return 0;
	ip->time_to_live--;
	ip->hdr_checksum++;
	memcpy(eth, &head[hop], 12);
	return 1;
}

static inline int forward6(struct rte_mbuf *m, uint32_t hop)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(eth + 1);
	if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV6) || hop >= HOPS)
		return 0;
	ip->hop_limits--;
	memcpy(eth, &head[hop], 12);
	return 1;
}

static inline struct rte_ipv4_hdr *ip4(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));
}

static inline void prefetch(struct rte_mbuf **packets, int i, int n)
{
	if (i < n)
		rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
}

/* Gives each packet its next hop, HOPS where there is none. */
static inline void lookup(char mode, struct rte_mbuf **packets, int n, uint32_t *hops)
{
	uint64_t found[BURST];
	uint32_t ips[BURST];
	uint8_t ips6[BURST][RTE_FIB6_IPV6_ADDR_SIZE];
	int i;

	for (i = 0; i < PREFETCH; i++)
		prefetch(packets, i, n);
	for (i = 0; i < n; i++) {
		prefetch(packets, i + PREFETCH, n);
		if (mode == '6')
			memcpy(ips6[i], rte_pktmbuf_mtod_offset(packets[i], uint8_t *, 14 + 24), 16);
		else
			ips[i] = rte_be_to_cpu_32(ip4(packets[i])->dst_addr);
	}
	if (mode == 'l') {
		for (i = 0; i + 4 <= n; i += 4)
			rte_lpm_lookupx4(lpm, _mm_loadu_si128((const __m128i *)(ips + i)), hops + i, HOPS);
		for (; i < n; i++)
			if (rte_lpm_lookup(lpm, ips[i], hops + i) != 0)
				hops[i] = HOPS;
		return;
	}
	if (mode == '6')
		rte_fib6_lookup_bulk(fib6, ips6, found, n);
	else
		rte_fib_lookup_bulk(fib, ips, found, n);
	for (i = 0; i < n; i++)
		hops[i] = found[i];
}

static inline uint64_t run(char mode, uint64_t packets)
{
	struct rte_mbuf *burst[BURST], *out[BURST];
	uint32_t hops[BURST];
	uint64_t done = 0;
	while (done < packets) {
		int n = rte_eth_rx_burst(0, 0, burst, BURST), sent = 0;
		if (mode == 'i') {
			memcpy(out, burst, n * sizeof(*out));
			sent = n;
		} else {
			lookup(mode, burst, n, hops);
			for (int i = 0; i < n; i++) {
				if (mode == '6' ? forward6(burst[i], hops[i]) : forward4(burst[i], hops[i]))
					out[sent++] = burst[i];
				else
					rte_pktmbuf_free(burst[i]);
			}
		}
		int left = rte_eth_tx_burst(0, 0, out, sent);
		for (int i = left; i < sent; i++)
			rte_pktmbuf_free(out[i]);
		done += left;
	}
	return done;
}

/* A copy of the loop for each mode, as l3fwd has. */
static uint64_t run_io(uint64_t packets) { return run('i', packets); }
static uint64_t run_lpm(uint64_t packets) { return run('l', packets); }
static uint64_t run_fib(uint64_t packets) { return run('f', packets); }
static uint64_t run_fib6(uint64_t packets) { return run('6', packets); }

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);
	if (used < 0 || argc - used < 2)
		die("usage: l3fwd EAL-OPTIONS -- ROUTES [lpm]");
	load(argv[used + 1], argc - used > 2);
	for (int hop = 0; hop < HOPS; hop++) {
		memset(&head[hop], 2, sizeof(head[hop]));
		head[hop].dst_addr.addr_bytes[5] = hop;
	}
	struct rte_mempool *pool = rte_pktmbuf_pool_create("mbufs", MBUFS - 1, 256, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	struct rte_eth_conf conf = { 0 };
	if (!pool || rte_eth_dev_configure(0, 1, 1, &conf) != 0 ||
	    rte_eth_rx_queue_setup(0, 0, 1024, SOCKET_ID_ANY, NULL, pool) != 0 ||
	    rte_eth_tx_queue_setup(0, 0, 1024, SOCKET_ID_ANY, NULL) != 0 || rte_eth_dev_start(0) != 0)
		die("the port cannot be started");
	printf("ready\n");
	fflush(stdout);
	char mode[8];
	unsigned long packets;
	while (scanf("%7s %lu", mode, &packets) == 2) {
		struct rte_eth_stats before, after;
		rte_eth_stats_get(0, &before);
		uint64_t start = cpu_ns();
		uint64_t (*loop)(uint64_t) = !strcmp(mode, "io") ? run_io : !strcmp(mode, "lpm") ? run_lpm :
			!strcmp(mode, "fib") ? run_fib : run_fib6;
		loop(packets);
		uint64_t time = cpu_ns() - start;
		rte_eth_stats_get(0, &after);
		/* The port's own count; what was dropped has not been sent. */
		printf("%lu %lu %lu\n", after.opackets - before.opackets, after.ipackets - before.ipackets, time);
		fflush(stdout);
	}
	return 0;
}
