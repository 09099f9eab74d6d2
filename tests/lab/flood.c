// SPDX-License-Identifier: MIT
// Sends one prepared frame many times out of an interface, and prints how often it did.
//
//   flood IFACE HEX count N          as fast as possible, N frames
//   flood IFACE HEX seconds S        as fast as possible, for about S seconds
//   flood IFACE HEX count N pps R    N frames, R a second, by AF_PACKET: every one is accounted for; SIGINT ends it
//
// A paced sender that had to wait for its CPU sends no more than 1,024 frames at once afterwards, half of a receive
// ring, and takes the longer: a wire at that rate cannot bring more either.
//
// As fast as possible means BPF_PROG_RUN with live frames (Linux 5.18): an XDP program redirects
// each frame out of the interface inside the kernel. The peer of a veth must run native XDP to
// receive them. What the peer's ring cannot take is lost there.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_FRAME 2048
#define MAX_FRAMES 100000000ull // of one run: nothing here is endless
#define MAX_SECONDS 60.0
#define CHUNK (1u << 20) // frames of one BPF_PROG_RUN: short calls sleep 10 ms each
#define BURST 32
#define BEHIND 1024 // frames that a paced sender makes up for

static void die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void usage(void)
{
	fprintf(stderr, "usage: flood IFACE HEX count N [pps R] | flood IFACE HEX seconds S\n");
	exit(2);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t parse_hex(const char *hex, uint8_t *frame)
{
	size_t len = strlen(hex) / 2;
	if (strlen(hex) % 2 || len < 14 || len > MAX_FRAME)
		usage();
	for (size_t i = 0; i < len; i++)
		if (sscanf(hex + 2 * i, "%2hhx", &frame[i]) != 1)
			usage();
	return len;
}

// An XDP program: return bpf_redirect(ifindex, 0).
static int load_redirect(unsigned ifindex)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = (int)ifindex },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uint64_t)(uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (uint64_t)(uintptr_t)"MIT",
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		die("BPF_PROG_LOAD");
	return fd;
}

static uint64_t live(unsigned ifindex, const uint8_t *frame, size_t len, uint64_t count, double seconds)
{
	int prog = load_redirect(ifindex);
	double end = now() + seconds;
	uint64_t sent = 0;

	while (sent < count && (seconds == 0 || now() < end)) {
		uint64_t left = count - sent;
		uint32_t chunk = left < CHUNK ? (uint32_t)left : CHUNK;
		union bpf_attr attr = { 0 };
		attr.test.prog_fd = (uint32_t)prog;
		attr.test.data_in = (uint64_t)(uintptr_t)frame;
		attr.test.data_size_in = (uint32_t)len;
		attr.test.repeat = chunk;
		attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
		attr.test.batch_size = 64;
		if (syscall(SYS_bpf, BPF_PROG_RUN, &attr, sizeof(attr)))
			die("BPF_PROG_RUN with live frames");
		sent += chunk;
	}
	return sent;
}

static volatile sig_atomic_t enough;

static void interrupted(int signal)
{
	(void)signal;
	enough = 1;
}

static uint64_t paced(unsigned ifindex, const uint8_t *frame, size_t len, uint64_t count, double pps)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex };
	struct iovec piece = { .iov_base = (void *)(uintptr_t)frame, .iov_len = len };
	struct mmsghdr messages[BURST];
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	double start = now();
	uint64_t sent = 0;

	if (fd < 0)
		die("AF_PACKET socket");
	signal(SIGINT, interrupted);
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BURST; i++) {
		messages[i].msg_hdr.msg_name = &to;
		messages[i].msg_hdr.msg_namelen = sizeof(to);
		messages[i].msg_hdr.msg_iov = &piece;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < count && !enough) {
		uint64_t due = (uint64_t)((now() - start) * pps) + 1;
		if (due > sent + BEHIND) {
			start += (double)(due - sent - BEHIND) / pps;
			due = sent + BEHIND;
		}
		if (due > count)
			due = count;
		while (sent < due) {
			unsigned n = due - sent < BURST ? (unsigned)(due - sent) : BURST;
			int done = sendmmsg(fd, messages, n, 0);
			if (done < 0 && errno != ENOBUFS && errno != EAGAIN)
				die("sendmmsg");
			if (done > 0)
				sent += (uint64_t)done;
		}
		usleep(200);
	}
	return sent;
}

int main(int argc, char **argv)
{
	uint8_t frame[MAX_FRAME];
	uint64_t count = MAX_FRAMES, sent;
	double seconds = 0, pps = 0, start;

	if (argc != 5 && argc != 7)
		usage();
	unsigned ifindex = if_nametoindex(argv[1]);
	if (!ifindex)
		die(argv[1]);
	size_t len = parse_hex(argv[2], frame);
	if (!strcmp(argv[3], "count"))
		count = strtoull(argv[4], NULL, 10);
	else if (!strcmp(argv[3], "seconds"))
		seconds = strtod(argv[4], NULL);
	else
		usage();
	if (argc == 7) {
		if (strcmp(argv[5], "pps") || seconds > 0)
			usage();
		pps = strtod(argv[6], NULL);
	}
	if (count > MAX_FRAMES || seconds > MAX_SECONDS || pps < 0)
		usage();

	start = now();
	sent = pps > 0 ? paced(ifindex, frame, len, count, pps) : live(ifindex, frame, len, count, seconds);
	printf("{\"sent\": %llu, \"seconds\": %.6f}\n", (unsigned long long)sent, now() - start);
	return 0;
}
