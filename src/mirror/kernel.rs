//! The kernel's routes through netlink sockets: one for bursts of routes, with a large buffer, others
//! for what comes seldom and must not wait behind them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use netlink_sys::Socket;
use rustix::net::{RecvFlags, recv, sockopt};
use tracing::warn;

use super::follow::Kernel;
use super::message::{Hint, Notice, RTA_TABLE, RTM_GETROUTE, RouteMessage, notice};
use crate::netlink::{self, Frame, LinkEvent, LinkWatcher, NLM_F_DUMP, Request, frames};

// Of linux/rtnetlink.h.
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_NEXTHOP: u32 = 32;
/// Larger than what the kernel puts into one datagram of a dump.
const DATAGRAM: usize = 64 << 10;

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Who writes our routes: a number of /etc/iproute2/rt_protos.
    pub protocol: u8,
    /// Octets of notifications that may wait.
    pub buffer: usize,
}

impl Options {
    /// Room for a quarter of a million notifications, which take about 1 KiB each: what comes in while a
    /// full table is dumped and compared.
    pub fn for_protocol(protocol: u8) -> Options {
        Options { protocol, buffer: 128 << 20 }
    }
}

/// The kernel of this network namespace.
pub struct NetlinkKernel {
    routes: Socket,
    /// Addresses and next-hop objects.
    others: Socket,
    links: LinkWatcher,
    /// The watcher's resyncs that were told.
    resyncs: u64,
    protocol: u8,
    buffer: Vec<u8>,
}

impl NetlinkKernel {
    /// Starts to listen.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(options: Options) -> io::Result<NetlinkKernel> {
        let routes = netlink::subscribe(&[RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE])?;
        let fd = borrow(&routes);
        if let Err(error) = sockopt::set_socket_recv_buffer_size_force(fd, options.buffer) {
            // Without CAP_NET_ADMIN net.core.rmem_max is the limit: bursts overflow and are dumped.
            warn!(%error, "netlink: a small buffer for routes");
            sockopt::set_socket_recv_buffer_size(fd, options.buffer)?;
        }
        let groups = [RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_NEXTHOP];
        let others = netlink::subscribe(&groups)?;
        Ok(NetlinkKernel {
            routes,
            others,
            links: LinkWatcher::new()?,
            resyncs: 0,
            protocol: options.protocol,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// What becomes readable when there is news.
    pub fn descriptors(&self) -> [RawFd; 3] {
        [self.routes.as_raw_fd(), self.others.as_raw_fd(), self.links.as_raw_fd()]
    }

    /// Takes one datagram; `None` where there is none. Reads the messages that `take` wants.
    fn receive(
        &mut self,
        from: impl Fn(&Self) -> &Socket,
        mut take: impl FnMut(Notice),
    ) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = recv(borrow(from(self)), &mut buffer[..], RecvFlags::empty());
        if let Ok((length, _)) = received {
            frames(&buffer[..length])
                .filter_map(|(frame, _)| notice(frame, self.protocol))
                .for_each(&mut take);
        }
        self.buffer = buffer;
        match received {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn borrow(socket: &Socket) -> BorrowedFd<'_> {
    socket.as_fd()
}

impl Kernel for NetlinkKernel {
    fn hints(&mut self, out: &mut Vec<Hint>) -> io::Result<()> {
        while let Some(event) = self.links.next(Duration::ZERO)? {
            out.push(match event {
                LinkEvent::Present { interface, ifindex, admin_up, .. } => {
                    Hint::Link { index: ifindex, name: interface, admin_up }
                }
                LinkEvent::Gone { ifindex, .. } => Hint::LinkGone { index: ifindex },
            });
        }
        if self.links.resyncs() != self.resyncs {
            // A link may have gone down and up again unseen.
            self.resyncs = self.links.resyncs();
            out.push(Hint::Any);
        }
        while self.receive(
            |kernel| &kernel.others,
            |notice| {
                if let Notice::Hint(hint) = notice {
                    out.push(hint);
                }
            },
        )? {}
        Ok(())
    }

    fn routes(&mut self, limit: usize, out: &mut Vec<RouteMessage>) -> io::Result<()> {
        let mut lost = false;
        let end = out.len() + limit;
        while out.len() < end
            && self.receive(
                |kernel| &kernel.routes,
                |notice| match notice {
                    Notice::Route(route) => out.push(route),
                    Notice::Hint(_) => lost = true,
                },
            )?
        {}
        if lost { Err(io::Error::from_raw_os_error(libc::ENOBUFS)) } else { Ok(()) }
    }

    fn dump(&mut self, table: u32, v6: bool, take: &mut dyn FnMut(RouteMessage)) -> io::Result<()> {
        let socket = netlink::open()?;
        // The kernel filters by table and protocol only for those who ask strictly.
        socket.set_netlink_get_strict_chk(true)?;
        let family = u8::try_from(if v6 { libc::AF_INET6 } else { libc::AF_INET }).unwrap_or(0);
        let head = [family, 0, 0, 0, 0, self.protocol, 0, 0, 0, 0, 0, 0];
        let request = Request::new(RTM_GETROUTE, NLM_F_DUMP, &head);
        request.with(RTA_TABLE, &table.to_ne_bytes()).send(&socket)?;
        loop {
            let (length, _) = recv(borrow(&socket), &mut self.buffer[..], RecvFlags::empty())?;
            for (frame, _) in frames(&self.buffer[..length]) {
                match frame {
                    Frame::Done => return Ok(()),
                    // A table exists from its first route on.
                    Frame::Error(libc::ENOENT) => return Ok(()),
                    Frame::Error(0) => {}
                    Frame::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Frame::Payload(..) => {
                        if let Some(Notice::Route(route)) = notice(frame, self.protocol)
                            && route.table == table
                        {
                            take(route);
                        }
                    }
                }
            }
        }
    }
}
