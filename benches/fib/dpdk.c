/* DPDK's four longest-prefix-match tables behind plain functions. Each lookup function takes a whole array and
 * returns the sum of the answers, so that calling it costs nothing that counts. */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BURST 64

int dpdk_start(int huge_pages)
{
	char *args[] = { "fib-bench", huge_pages ? "--in-memory" : "--no-huge", "--no-pci", "-m", "3072", "-l", "0",
			 "--no-telemetry", "--log-level=error", "--force-max-simd-bitwidth=512" };
	return rte_eal_init(sizeof(args) / sizeof(*args), args);
}

uint64_t dpdk_memory(void)
{
	struct rte_malloc_socket_stats stats;
	uint64_t sum = 0;
	for (int socket = 0; socket < 2; socket++)
		if (rte_malloc_get_socket_stats(socket, &stats) == 0)
			sum += stats.heap_allocsz_bytes;
	return sum;
}

void *lpm4_new(uint32_t routes)
{
	struct rte_lpm_config config = { .max_rules = routes + routes / 4, .number_tbl8s = 1 << 16 };
	return rte_lpm_create("lpm4", SOCKET_ID_ANY, &config);
}

int lpm4_update(void *table, const uint32_t *ip, const uint8_t *len, const uint32_t *value, size_t n)
{
	int failed = 0;
	for (size_t i = 0; i < n; i++)
		failed += (value[i] ? rte_lpm_add(table, ip[i], len[i], value[i])
				    : rte_lpm_delete(table, ip[i], len[i])) != 0;
	return failed;
}

uint64_t lpm4_single(void *table, const uint32_t *addr, size_t n)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t value = 0;
		if (rte_lpm_lookup(table, addr[i], &value) == 0)
			sum += value;
	}
	return sum;
}

uint64_t lpm4_burst(void *table, const uint32_t *addr, size_t n)
{
	uint64_t sum = 0;
	uint32_t out[BURST];
	for (size_t i = 0; i + BURST <= n; i += BURST) {
		rte_lpm_lookup_bulk(table, addr + i, out, BURST);
		for (int j = 0; j < BURST; j++)
			sum += out[j] & RTE_LPM_LOOKUP_SUCCESS ? out[j] & 0xFFFFFF : 0;
	}
	return sum;
}

void *fib4_new(uint32_t routes, int vector)
{
	struct rte_fib_conf config = {
		.type = RTE_FIB_DIR24_8, .default_nh = 0, .max_routes = routes * 2,
		.dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_2B, .num_tbl8 = 32767 },
	};
	struct rte_fib *table = rte_fib_create("fib4", SOCKET_ID_ANY, &config);
	if (table && vector && rte_fib_select_lookup(table, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512) != 0)
		fprintf(stderr, "rte_fib: no AVX-512 lookup here\n");
	if (table && !vector)
		rte_fib_select_lookup(table, RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO);
	return table;
}

int fib4_update(void *table, const uint32_t *ip, const uint8_t *len, const uint32_t *value, size_t n)
{
	int failed = 0;
	for (size_t i = 0; i < n; i++)
		failed += (value[i] ? rte_fib_add(table, ip[i], len[i], value[i])
				    : rte_fib_delete(table, ip[i], len[i])) != 0;
	return failed;
}

uint64_t fib4_lookup(void *table, const uint32_t *addr, size_t n, int burst)
{
	uint64_t sum = 0;
	uint64_t out[BURST];
	for (size_t i = 0; i + burst <= n; i += burst) {
		rte_fib_lookup_bulk(table, (uint32_t *)addr + i, out, burst);
		for (int j = 0; j < burst; j++)
			sum += out[j];
	}
	return sum;
}

/* Whether the processor has it. */
int fib4_select(void *table, int vector)
{
	return 0 == rte_fib_select_lookup(table, vector ? RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512
					    : RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO);
}

void *lpm6_new(uint32_t routes)
{
	struct rte_lpm6_config config = { .max_rules = routes * 2, .number_tbl8s = 1 << 17 };
	return rte_lpm6_create("lpm6", SOCKET_ID_ANY, &config);
}

int lpm6_update(void *table, const uint8_t (*ip)[16], const uint8_t *len, const uint32_t *value, size_t n)
{
	int failed = 0;
	for (size_t i = 0; i < n; i++)
		failed += (value[i] ? rte_lpm6_add(table, ip[i], len[i], value[i])
				    : rte_lpm6_delete(table, ip[i], len[i])) != 0;
	return failed;
}

uint64_t lpm6_lookup(void *table, uint8_t (*addr)[16], size_t n, int burst)
{
	uint64_t sum = 0;
	int32_t out[BURST];
	for (size_t i = 0; i + burst <= n; i += burst) {
		if (burst == 1) {
			uint32_t value = 0;
			if (rte_lpm6_lookup(table, addr[i], &value) == 0)
				sum += value;
			continue;
		}
		rte_lpm6_lookup_bulk_func(table, addr + i, out, burst);
		for (int j = 0; j < burst; j++)
			sum += out[j] > 0 ? out[j] : 0;
	}
	return sum;
}

void *fib6_new(uint32_t routes)
{
	struct rte_fib6_conf config = {
		.type = RTE_FIB6_TRIE, .default_nh = 0, .max_routes = routes * 2,
		.trie = { .nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = 1 << 19 },
	};
	struct rte_fib6 *table = rte_fib6_create("fib6", SOCKET_ID_ANY, &config);
	if (table && rte_fib6_select_lookup(table, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512) != 0)
		fprintf(stderr, "rte_fib6: no AVX-512 lookup here\n");
	return table;
}

/* Whether the processor has it. */
int fib6_select(void *table, int vector)
{
	return 0 == rte_fib6_select_lookup(table, vector ? RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512
					     : RTE_FIB6_LOOKUP_TRIE_SCALAR);
}

int fib6_update(void *table, const uint8_t (*ip)[16], const uint8_t *len, const uint32_t *value, size_t n)
{
	int failed = 0;
	for (size_t i = 0; i < n; i++)
		failed += (value[i] ? rte_fib6_add(table, ip[i], len[i], value[i])
				    : rte_fib6_delete(table, ip[i], len[i])) != 0;
	return failed;
}

uint64_t fib6_lookup(void *table, uint8_t (*addr)[16], size_t n, int burst)
{
	uint64_t sum = 0;
	uint64_t out[BURST];
	for (size_t i = 0; i + burst <= n; i += burst) {
		rte_fib6_lookup_bulk(table, addr + i, out, burst);
		for (int j = 0; j < burst; j++)
			sum += out[j];
	}
	return sum;
}
