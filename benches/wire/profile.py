"""Where the processor time of a device goes: samples of its CPU, by what of the kernel they are in."""

import collections
import shutil
import subprocess
import tempfile

import wires

# A sample counts for the first of these of whose functions one is in its call chain. What the kernel does at the wire's
# other end comes first: on veth that happens within the sender's call.
PARTS = [
    ("far end of the wire: taking the tag off", ("skb_vlan_untag",)),
    ("far end of the wire", ("net_rx_action", "handle_softirqs", "do_softirq.part.0")),
    ("sending: the driver", ("veth_xmit", "veth_xdp_xmit", "veth_ndo_xdp_xmit")),
    ("sending: a buffer for each packet, and the copy", ("sock_alloc_send_pskb", "__alloc_skb", "skb_store_bits", "xsk_build_skb")),
    ("sending: AF_XDP, checks, queues", ("xsk_sendmsg", "__xsk_generic_xmit", "__dev_direct_xmit", "__dev_queue_xmit", "xdp_do_flush", "xdp_do_redirect")),
    ("forwarding", ("ip_list_rcv", "ip_sublist_rcv", "ip_rcv", "ip_forward", "bpf_xdp_fib_lookup")),
    ("receiving", ("veth_poll", "napi_threaded_poll")),
    ("system calls", ("do_syscall_64", "entry_SYSCALL_64_after_hwframe", "entry_SYSCALL_64_safe_stack", "entry_SYSRETQ_unsafe_stack")),
]
KERNEL = 1 << 63


def missing():
    return None if shutil.which("perf") else "no perf (Debian: linux-perf)"


def part_of(process, chain):
    """The part of a sample: `chain` is of (address, function), the innermost first."""
    if process == "swapper":
        return "idle"
    address, function = chain[0]
    if address < KERNEL or function.startswith("bpf_prog_") and function.endswith("_forward"):
        return "forwarding"
    functions = {function for _, function in chain}
    return next((part for part, of in PARTS if functions.intersection(of)), "rest")


def samples(text):
    """The samples in the output of `perf script`: a line with the process's name, then a line for each function."""
    for sample in text.split("\n\n"):
        process, *lines = sample.strip("\n").split("\n")
        words = [line.split() for line in lines]
        if words:
            yield process.strip(), [(int(word[0], 16), word[1]) for word in words]


def measure(trial, seconds):
    """Runs a trial and samples the device's CPU for its first seconds: the trial's result, and the share of each part."""
    with tempfile.NamedTemporaryFile(prefix="wire-", suffix=".perf") as file:
        recorder = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "5000", "-g", "-C", str(wires.DEVICE_CPU),
                                     "-o", file.name, "sleep", str(seconds)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        try:
            result = trial()
        finally:
            recorder.wait(60)
        text = wires.run("sh", "-c", f"exec perf script -i {file.name} -F comm,ip,sym 2>/dev/null")
    found = collections.Counter(part_of(process, chain) for process, chain in samples(text))
    return result, {part: count / sum(found.values()) for part, count in found.items()}
