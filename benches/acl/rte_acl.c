/* DPDK's rte_acl behind plain functions: IPv4 rules of addresses, ports and protocol, as its l3fwd has them. */
#include <rte_acl.h>
#include <rte_eal.h>
#include <stdint.h>
#include <stdio.h>
#include <stddef.h>

#define BURST 64

struct packet {
	uint8_t protocol;
	uint8_t pad[3];
	uint32_t source, destination;
	uint16_t ports[2];
};

struct rule {
	uint32_t source, destination;
	uint8_t source_len, destination_len, protocol, protocol_mask;
	uint16_t first[2], last[2];
};

enum { FIELDS = 5 };
RTE_ACL_RULE_DEF(acl_rule, FIELDS);

static const struct rte_acl_field_def defs[FIELDS] = {
	{ RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, offsetof(struct packet, protocol) },
	{ RTE_ACL_FIELD_TYPE_MASK, 4, 1, 1, offsetof(struct packet, source) },
	{ RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, offsetof(struct packet, destination) },
	{ RTE_ACL_FIELD_TYPE_RANGE, 2, 3, 3, offsetof(struct packet, ports[0]) },
	{ RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 3, offsetof(struct packet, ports[1]) },
};

int acl_start(void)
{
	char *args[] = { "acl-bench", "--no-huge", "--no-pci", "-m", "2048", "-l", "0", "--no-telemetry",
			 "--log-level=critical", "--force-max-simd-bitwidth=512" };
	return rte_eal_init(sizeof(args) / sizeof(*args), args);
}

void *acl_new(const struct rule *rules, uint32_t n)
{
	struct rte_acl_param param = {
		.name = "bench", .socket_id = SOCKET_ID_ANY, .rule_size = RTE_ACL_RULE_SZ(FIELDS), .max_rule_num = n,
	};
	struct rte_acl_ctx *ctx = rte_acl_create(&param);
	struct rte_acl_config config = { .num_categories = 1, .num_fields = FIELDS };
	if (!ctx)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		struct acl_rule rule = { .data = { .category_mask = 1, .priority = n - i, .userdata = i + 1 } };
		rule.field[0].value.u8 = rules[i].protocol;
		rule.field[0].mask_range.u8 = rules[i].protocol_mask;
		rule.field[1].value.u32 = rules[i].source;
		rule.field[1].mask_range.u32 = rules[i].source_len;
		rule.field[2].value.u32 = rules[i].destination;
		rule.field[2].mask_range.u32 = rules[i].destination_len;
		for (int j = 0; j < 2; j++) {
			rule.field[3 + j].value.u16 = rules[i].first[j];
			rule.field[3 + j].mask_range.u16 = rules[i].last[j];
		}
		if (rte_acl_add_rules(ctx, (struct rte_acl_rule *)&rule, 1)) {
			rte_acl_free(ctx);
			return NULL;
		}
	}
	for (int i = 0; i < FIELDS; i++)
		config.defs[i] = defs[i];
	if (rte_acl_build(ctx, &config)) {
		rte_acl_free(ctx);
		return NULL;
	}
	return ctx;
}

void acl_free(void *ctx)
{
	rte_acl_free(ctx);
}

/* The places of the rules that were found, from 0; those of packets that none matches are UINT32_MAX. */
uint64_t acl_find(void *ctx, const struct packet *packets, size_t n, int scalar, uint32_t *out)
{
	uint64_t sum = 0;
	for (size_t i = 0; i + BURST <= n; i += BURST) {
		const uint8_t *data[BURST];
		uint32_t found[BURST];
		for (int j = 0; j < BURST; j++)
			data[j] = (const uint8_t *)(packets + i + j);
		if (scalar)
			rte_acl_classify_alg(ctx, data, found, BURST, 1, RTE_ACL_CLASSIFY_SCALAR);
		else
			rte_acl_classify(ctx, data, found, BURST, 1);
		for (int j = 0; j < BURST; j++) {
			sum += found[j];
			if (out)
				out[i + j] = found[j] - 1;
		}
	}
	return sum;
}
