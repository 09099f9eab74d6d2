"""Jumbo frames: packets of up to 9,001 octets, each in several buffers, in native and generic mode: pings, TCP, captures,
and what the station answers and fragments, beside the kernel's own router."""

import contextlib
import random
import subprocess

import case
import frames
import kernel_router
import lab
import station
import traffic
from case import HOSTS, expect, replaced, require
from frames import ETH_IPV4, ETH_IPV6, UDP, ipv4, ipv6, udp

A, CLOUD = HOSTS["a"], HOSTS["vpc-a"]
MTU = 9001
WIRE = 9100  # room for 9,001 octets and two tags
BOTH = ((A, CLOUD), (CLOUD, A))
UNDO = contextlib.ExitStack()


def set_mtu(mtu, wire):
    """Of both hosts, and of all that leads to them."""
    for host in (A, CLOUD):
        lab.ip("st-wire", *[f"link set dev {name} mtu {wire}" for name in (f"h-{host.name}", host.port, f"sw-{host.port}")])
        lab.ip("st-station", f"link set dev {host.port} mtu {wire}")
        lab.ip(host.ns, f"link set dev eth0 mtu {mtu}")
        lab.default_routes(host, mtu)


def config(xdp="native", mtus=(MTU, MTU)):
    text = case.lab_config()
    for host, mtu in zip((A, CLOUD), mtus, strict=True):
        text = replaced(text, (f'[[vif]]\nname = "{host.name}"\n', f'[[vif]]\nname = "{host.name}"\nmtu = {mtu}\n'),
                        (f'name = "{host.port}"\n', f'name = "{host.port}"\nxdp = "{xdp}"\n'))
    return text


def vif(host):
    return next(row for row in station.ctl("show", "vifs") if row["name"] == host.name)


def begin():
    station.stop()
    set_mtu(MTU, WIRE)


def end():
    station.stop()
    UNDO.close()
    set_mtu(1500, lab.PORT_MTU)


def jumbo(xdp):
    """Pings of the host ahead and of the station itself, which the slow path answers, and TCP, whose segments must be long."""
    case.fresh(config(xdp))
    expect({station.ports()[host.port]["xdp_mode"] for host in (A, CLOUD)}, {xdp}, "modes")
    free = [row["frames_free"] for row in station.ctl("show", "workers")]
    for source, target in BOTH:
        for address, size in ((target.addr4, MTU - 28), (target.addr6, MTU - 48), (source.gw4, MTU - 28), (source.gw6, MTU - 48)):
            case.answered(source, address, f"{xdp}: {MTU} octets from {source.name} to {address}", size=size, df=True)
            expect(traffic.ping(source, address, size=size + 1, df=True, wait=0.1), 0, f"{MTU + 1} octets")
        for address in (target.addr4, target.addr6):
            before = vif(source)
            intact, _ = traffic.transfer(source, target, address, octets=20_000_000)
            require(intact, f"{xdp}: 20 MB from {source.name} to {address} differ")
            after = vif(source)
            packets, octets = (after[what] - before[what] for what in ("rx_frames", "rx_octets"))
            require(octets > 20_000_000 and octets / packets > 4000, f"{xdp}: {packets} frames of {octets / packets:.0f} octets")
    case.wait_until(lambda: [row["frames_free"] for row in station.ctl("show", "workers")] == free, 10, f"all of {free} frames are back")


def test_native():
    jumbo("native")


def test_generic():
    jumbo("generic")


def test_a_capture_has_them_whole():
    file = lab.RUN / "jumbo.pcapng"
    packet = ipv4(A.addr4, CLOUD.addr4, UDP, udp(A.addr4, CLOUD.addr4, random.Random(9).randbytes(MTU - 28)))
    frame = frames.eth(A.port_mac, A.mac, ETH_IPV4, packet, A.tags)
    with frames.Raw("st-wire", A.port) as wire:
        process = subprocess.Popen(station.command("capture", "--vif", "a", "--direction", "in", "--filter", "greater 8000",
                                                   "--snap", "9238", "--count", "1", "-w", file))
        case.wait_until(lambda: file.exists() and file.stat().st_size, 10, "the capture begins")
        wire.send(frame)
        expect(process.wait(10), 0, "its exit code")
    require(frame in file.read_bytes(), f"the capture has {file.stat().st_size} octets and not the frame's {len(frame)}")


# ---- beside the kernel --------------------------------------------------------------------------

MTUS = (1500, 8500, 9001)


def packets(inside, outside):
    """(name, packet): what fits, what just does not, and the longest that comes in."""
    sizes = sorted({min(inside, size) for size in (1280, outside, outside + 1, outside + 700, inside)})
    rng = random.Random(inside * 10_000 + outside)
    for size in sizes:
        body = rng.randbytes(size)
        for df in (True, False):
            yield f"{size} octets{', DF' if df else ''}", ipv4(A.addr4, CLOUD.addr4, UDP, udp(A.addr4, CLOUD.addr4, body[28:]), df=df, ident=size)
        yield f"IPv6 of {size} octets", ipv6(A.addr6, CLOUD.addr6, UDP, udp(A.addr6, CLOUD.addr6, body[48:]))


def alike(output):
    """What must be the same of what leaves: of an error what a host acts on, of all else every octet."""
    side, kind, packet = output
    is_error = packet[9] == frames.ICMP if kind == ETH_IPV4 else packet[6] == frames.ICMPV6
    if not is_error:
        return output
    addresses, body = (packet[12:20], packet[20:]) if kind == ETH_IPV4 else (packet[8:40], packet[40:])
    # Type and code, the MTU, and the quoted header: how much is quoted behind it is the router's choice.
    return side, addresses, body[:2], body[4:8], body[8:16] if kind == ETH_IPV4 else body[8:15], body[24:28]


def test_too_big_is_answered_and_fragmented_as_the_kernel_does():
    faults, tried, answered = [], 0, 0
    UNDO.callback(kernel_router.down)
    for inside in MTUS:
        for outside in MTUS:
            with contextlib.suppress(RuntimeError):
                kernel_router.down()
            kernel_router.up(outside, inside=inside, wire=WIRE)
            station.stop()
            station.start(config(mtus=(inside, outside)) + kernel_router.neighbors())
            kernel, ours = kernel_router.wires()
            kernel_router.outputs(kernel, ours)
            for name, packet in packets(inside, outside):
                kind = ETH_IPV4 if packet[0] >> 4 == 4 else ETH_IPV6
                kernel_router.send("customer", kind, packet, kernel=kernel, ours=ours)
                left = kernel_router.outputs(kernel, ours)
                if len(left[0]) != len(left[1]):
                    # One of them may only be late.
                    left = [early + late for early, late in zip(left, kernel_router.outputs(kernel, ours, quiet=0.5), strict=True)]
                tried += 1
                answered += any(side == "customer" for side, _, _ in left[1])
                same = [sorted(map(alike, of_router), key=repr) for of_router in left]
                if same[0] != same[1] or not left[0]:
                    faults.append(f"{inside} to {outside}, {name}: kernel {[(s, len(p)) for s, _, p in left[0]]}, "
                                  f"station {[(s, len(p)) for s, _, p in left[1]]}")
            for wire in (*kernel.values(), *ours.values()):
                wire.socket.close()
    require(not faults, f"{len(faults)} of {tried}:\n" + "\n".join(faults))
    require(answered >= 10, f"{answered} of {tried} were answered")
