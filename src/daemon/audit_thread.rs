//! The thread that audits the open ports: each once a second, and at once when the kernel has news of its
//! interface. It puts back what another hand took away by itself, so that it waits for nobody while a port
//! is open to the kernel; the control thread hears what it found.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use tracing::{error, warn};

use crate::netlink::LinkHints;
use crate::port::af_xdp::{self, Audit, AuditError, Claim, Nic, XdpProgram};
use crate::tables::PortId;

/// How often each port is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How soon a port is looked at again after news of it: another hand that insists must not keep a CPU busy.
const PAUSE: Duration = Duration::from_millis(20);

/// An open port.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub program: Arc<XdpProgram>,
    pub nic: Arc<Nic>,
}

/// What an audit of a port found.
#[derive(Debug)]
pub(super) struct Finding {
    pub port: PortId,
    /// What was audited: the port may have been opened anew since.
    pub program: Arc<XdpProgram>,
    /// An error where the port must be closed.
    pub audit: Result<Audit, AuditError>,
}

/// Orders: a port was opened, or closed.
pub(super) type Orders = Sender<(PortId, Option<Open>)>;

/// Starts the thread, which holds the claim to the ports as long as the process lives.
///
/// # Errors
/// The system's.
pub(super) fn spawn(claim: Claim) -> std::io::Result<(Orders, Receiver<Finding>)> {
    let hints = LinkHints::new()?;
    let (orders, their_orders) = unbounded();
    let (their_findings, findings) = unbounded();
    let body = Body {
        claim,
        claimed: true,
        hints,
        orders: their_orders,
        findings: their_findings,
        open: HashMap::new(),
        troubles: HashMap::new(),
    };
    std::thread::Builder::new().name("audit".into()).spawn(move || body.run())?;
    Ok((orders, findings))
}

struct Body {
    claim: Claim,
    claimed: bool,
    hints: LinkHints,
    orders: Receiver<(PortId, Option<Open>)>,
    findings: Sender<Finding>,
    open: HashMap<PortId, Open>,
    /// What was told of the ports last.
    troubles: HashMap<PortId, Option<String>>,
}

impl Body {
    /// Audits until the control thread is gone.
    fn run(mut self) {
        let mut due = Instant::now();
        loop {
            if !self.follow() {
                return;
            }
            let of_ports = |index| self.open.values().any(|open| open.program.ifindex() == index);
            let news = match self.hints.next(due, of_ports) {
                Ok(news) => news,
                Err(error) => {
                    warn!(%error, "netlink");
                    std::thread::sleep(INTERVAL);
                    None
                }
            };
            if !self.follow() {
                return;
            }
            self.renew_claim();
            let all = news.is_none() || Instant::now() >= due;
            let news = news.unwrap_or_default();
            let ports: Vec<PortId> = self
                .open
                .iter()
                .filter(|(_, open)| all || news.contains(&open.program.ifindex()))
                .map(|(&port, _)| port)
                .collect();
            ports.into_iter().for_each(|port| self.audit(port));
            if all {
                due = Instant::now() + INTERVAL;
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Claims the ports again where another hand removed the directory of pins, and says once where
    /// another station was faster.
    fn renew_claim(&mut self) {
        let renewed = self.claim.renew();
        if let (Err(error), true) = (&renewed, self.claimed) {
            error!(%error, "another hand took the claim to the ports away");
        }
        self.claimed = renewed.is_ok();
    }

    /// Takes orders; false where nobody can give any more.
    fn follow(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok((port, open)) => {
                    self.troubles.remove(&port);
                    match open {
                        Some(open) => self.open.insert(port, open),
                        None => self.open.remove(&port),
                    };
                }
                Err(error) => return error.is_empty(),
            }
        }
    }

    /// Audits a port, and tells what is new of it.
    fn audit(&mut self, port: PortId) {
        let Some(Open { program, nic }) = self.open.get(&port).cloned() else { return };
        let audit = match af_xdp::audit(&program, &nic) {
            Ok(None) => return,
            Ok(Some(audit)) => Ok(audit),
            Err(error) => {
                // It is closed, and opened again as one that could not be.
                self.open.remove(&port);
                Err(error)
            }
        };
        let told = self.troubles.entry(port).or_default();
        let is_news = match &audit {
            Ok(audit) => !audit.restored.is_empty() || *told != audit.trouble,
            Err(_) => true,
        };
        *told = audit.as_ref().ok().and_then(|audit| audit.trouble.clone());
        if is_news {
            // The control thread ends only with the process.
            drop(self.findings.send(Finding { port, program, audit }));
        }
    }
}
