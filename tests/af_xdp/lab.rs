//! A lab for one test: two network namespaces joined by two cables (veth pairs), and a BPF file
//! system of its own. All of it is removed when the test ends, however it ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use station::port::Pool;
use station::port::af_xdp::{SocketOptions, XdpProgram, XskError, XskPort};

/// The station's ends of the cables, in the station's namespace.
pub const PORTS: [&str; 2] = ["p0", "p1"];
/// Their other ends, in the other namespace.
pub const WIRES: [&str; 2] = ["w0", "w1"];

/// Namespaces, cables, and a place for pins.
pub struct Lab {
    name: String,
    bpffs: PathBuf,
}

impl Lab {
    /// Makes the lab; each cable end has `queues` queues.
    pub fn new(queues: u32) -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("xdp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Lab { bpffs: Path::new("/run").join(&name), name };
        for namespace in [lab.station(), lab.wire()] {
            run(&["ip", "netns", "add", &namespace]);
            for family in ["all", "default"] {
                let setting = format!("net.ipv6.conf.{family}.disable_ipv6=1");
                run(&["ip", "netns", "exec", &namespace, "sysctl", "-qw", &setting]);
            }
        }
        for index in 0..2 {
            lab.plug(index, queues);
        }
        std::fs::create_dir(&lab.bpffs).unwrap();
        run(&["mount", "-t", "bpf", "bpf", lab.bpffs.to_str().unwrap()]);
        lab
    }

    /// Makes a cable.
    pub fn plug(&self, index: usize, queues: u32) {
        let (port, wire, queues) = (PORTS[index], WIRES[index], queues.to_string());
        let (station_ns, wire_ns) = (self.station(), self.wire());
        run(&[
            "ip",
            "link",
            "add",
            port,
            "numrxqueues",
            &queues,
            "numtxqueues",
            &queues,
            "netns",
            &station_ns,
            "type",
            "veth",
            "peer",
            "name",
            wire,
            "numrxqueues",
            &queues,
            "numtxqueues",
            &queues,
            "netns",
            &wire_ns,
        ]);
        // A sender that offloads tags hides them from a native receiver.
        run(&["ip", "netns", "exec", &wire_ns, "ethtool", "-K", wire, "txvlan", "off"]);
        run(&[
            "ip",
            "netns",
            "exec",
            &wire_ns,
            "ethtool",
            "-K",
            wire,
            "tx-vlan-stag-hw-insert",
            "off",
        ]);
        self.ip(&["link", "set", port, "up"]);
        self.wire_ip(&["link", "set", wire, "up"]);
    }

    /// The name of the station's namespace.
    pub fn station(&self) -> String {
        format!("{}-station", self.name)
    }

    fn wire(&self) -> String {
        format!("{}-wire", self.name)
    }

    /// Takes the BPF file system away.
    pub fn umount(&self) {
        run(&["umount", self.bpffs.to_str().unwrap()]);
    }

    /// Where pins go.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// Runs `ip` in the station's namespace.
    pub fn ip(&self, arguments: &[&str]) {
        let namespace = self.station();
        run(&[&["ip", "-n", &namespace], arguments].concat());
    }

    /// Runs `ip` in the namespace of the far ends.
    pub fn wire_ip(&self, arguments: &[&str]) {
        let namespace = self.wire();
        run(&[&["ip", "-n", &namespace], arguments].concat());
    }

    /// Runs a command in the station's namespace and returns its output.
    pub fn output(&self, command: &[&str]) -> String {
        let namespace = self.station();
        run(&[&["ip", "netns", "exec", &namespace], command].concat())
    }

    /// Runs a test's body on a thread in the station's namespace.
    pub fn in_station<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        in_namespace(&self.station(), body)
    }

    /// The far end of a cable.
    pub fn wire_end(&self, index: usize) -> PacketSocket {
        in_namespace(&self.wire(), || PacketSocket::new(WIRES[index]))
    }

    /// What the station's kernel gets to see of a port.
    pub fn kernel_tap(&self, index: usize) -> PacketSocket {
        in_namespace(&self.station(), || PacketSocket::new(PORTS[index]))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Each by itself: what is there goes, also when something was never made.
        let quiet = |command: &[&str]| {
            let _ = Command::new(command[0]).args(&command[1..]).output();
        };
        for namespace in [self.station(), self.wire()] {
            quiet(&["ip", "netns", "del", &namespace]);
        }
        quiet(&["umount", self.bpffs.to_str().unwrap_or_default()]);
        let _ = std::fs::remove_dir(&self.bpffs);
    }
}

/// Runs a command that must succeed.
fn run(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", command.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `body` on a thread of its own in a network namespace.
pub fn in_namespace<T: Send>(name: &str, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name);
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves this thread into a network namespace.
pub fn enter(name: &str) {
    let namespace = File::open(Path::new("/run/netns").join(name)).unwrap();
    // SAFETY: a descriptor that lives; it changes only this thread.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "setns: {}", io::Error::last_os_error());
}

/// A socket that sends to an interface and receives what arrives there.
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    fn new(interface: &str) -> PacketSocket {
        let name = std::ffi::CString::new(interface).unwrap();
        let protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        // SAFETY: a new file descriptor, owned by nothing else; pointers and lengths of locals.
        unsafe {
            let index = libc::if_nametoindex(name.as_ptr());
            assert!(index > 0, "no interface {interface}");
            let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = libc::socket(libc::AF_PACKET, flags, i32::from(protocol));
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            let fd = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
            address.sll_protocol = protocol;
            address.sll_ifindex = i32::try_from(index).unwrap();
            let len = u32::try_from(size_of_val(&address)).unwrap();
            let bound = libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len);
            assert_eq!(bound, 0, "{}", io::Error::last_os_error());
            let set = |level, option, value: i32| {
                let value = (&raw const value).cast();
                assert_eq!(libc::setsockopt(fd.as_raw_fd(), level, option, value, 4), 0);
            };
            set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
            set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1);
            PacketSocket(fd)
        }
    }

    /// Sends a frame; false where the interface is gone or full.
    pub fn send(&self, frame: &[u8]) -> bool {
        // SAFETY: the pointer and length describe `frame`.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        usize::try_from(sent) == Ok(frame.len())
    }

    /// The next frame that arrived, as it was on the wire; not those that were sent from here.
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        loop {
            let mut poll =
                libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one struct that lives through the call.
            let ready = unsafe {
                libc::poll(&raw mut poll, 1, i32::try_from(timeout.as_millis()).unwrap())
            };
            if ready != 1 {
                return None;
            }
            let (frame, outgoing) = self.receive_now()?;
            if !outgoing {
                return Some(frame);
            }
        }
    }

    fn receive_now(&self) -> Option<(Vec<u8>, bool)> {
        let mut frame = vec![0; 4096];
        // SAFETY: pointers and lengths of locals; the control message is what the kernel wrote.
        unsafe {
            let mut from: libc::sockaddr_ll = std::mem::zeroed();
            let mut control = [0u64; 16];
            let mut part =
                libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_name = (&raw mut from).cast();
            message.msg_namelen = u32::try_from(size_of_val(&from)).unwrap();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let len = libc::recvmsg(self.0.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT);
            frame.truncate(usize::try_from(len).ok()?);
            // The kernel takes the tag out of the frame and tells it beside.
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if !header.is_null() && (*header).cmsg_type == libc::PACKET_AUXDATA {
                let data = libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned();
                if data.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                    let [t0, t1] = data.tp_vlan_tpid.to_be_bytes();
                    let [v0, v1] = data.tp_vlan_tci.to_be_bytes();
                    frame.splice(12..12, [t0, t1, v0, v1]);
                }
            }
            Some((frame, from.sll_pkttype == libc::PACKET_OUTGOING))
        }
    }

    /// How many frames arrived until none did for a while.
    pub fn count(&self) -> usize {
        std::iter::from_fn(|| self.receive(Duration::from_millis(50))).count()
    }
}

/// A tagged frame of `len` octets that says which it is.
pub fn tagged(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0, 100, 0x08, 0x00];
    frame.extend(number.to_be_bytes());
    frame.resize(len, number.to_be_bytes()[3]);
    frame
}

/// Which frame of [`tagged`] it is.
pub fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[18..22].try_into().unwrap())
}

/// Opens a socket that receives into frames of the pool.
pub fn open(
    program: &XdpProgram,
    pool: &mut Pool,
    queue: u32,
    options: SocketOptions,
) -> Result<XskPort, XskError> {
    let mut port = XskPort::open(program, pool.area().extent(), queue, options)?;
    match port.start(program, pool) {
        Ok(()) => Ok(port),
        Err(error) => {
            close(port, pool);
            Err(error.into())
        }
    }
}

/// Closes a socket; its frames are the pool's again.
pub fn close(port: XskPort, pool: &mut Pool) {
    pool.take_back(port.close());
}
