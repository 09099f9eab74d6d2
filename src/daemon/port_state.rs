//! A port as the control thread knows it: what is known of its interface, whether it is open, and what is
//! wrong with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::model::PortConfig;
use crate::control::PortFacts;
use crate::netlink::Link;
use crate::port::af_xdp::{Attached, Audit, AuditError, NicError, XdpCounters, XdpProgram};

/// Repairs of a port are told this far apart at least: another hand may insist.
const TOLD: Duration = Duration::from_secs(1);

/// One port's interface.
pub(super) struct PortState {
    pub config: PortConfig,
    pub facts: PortFacts,
    /// The facts could not be read when something had changed: they are asked for again.
    pub unread: bool,
    /// The job by which they are being asked for.
    pub asking: Option<u64>,
    /// The job by which it is being opened.
    pub opening: Option<u64>,
    /// The kernel told of the interface while it was being opened.
    pub missed: bool,
    /// Why it could not be opened, or what is wrong with it though it is open, as logged.
    pub trouble: Option<String>,
    /// Times that something another hand had changed was put right.
    pub repairs: u64,
    /// Losses and returns of the link.
    pub carrier_changes: u64,
    /// `None` while the port is closed.
    pub program: Option<Arc<XdpProgram>>,
    /// Whether every worker's socket got zero-copy.
    pub zero_copy: bool,
    /// What was put right, where that is to be told.
    pub repaired: Option<String>,
    /// When a repair was told last.
    told: Option<Instant>,
}

impl PortState {
    /// A port that is not open, of whose interface nothing is known.
    pub fn closed(config: PortConfig) -> PortState {
        PortState {
            config,
            facts: PortFacts::UNKNOWN,
            unread: false,
            asking: None,
            opening: None,
            missed: false,
            trouble: None,
            repairs: 0,
            carrier_changes: 0,
            program: None,
            zero_copy: false,
            repaired: None,
            told: None,
        }
    }

    /// Takes in the kernel's answer. One that failed says nothing of the link: what is known stands, and
    /// the question is asked again.
    pub fn take_answer(&mut self, answer: Result<Link, NicError>) {
        match answer {
            Ok(link) => self.learn(link.mac, link.mtu, link.up),
            Err(NicError::NoInterface(_)) => self.gone(),
            Err(error) => {
                warn!(port = %self.config.name, %error, "the link's state is not known; it is asked for again");
                self.unread = true;
            }
        }
    }

    /// Takes in what the kernel says of the interface.
    pub fn learn(&mut self, mac: [u8; 6], mtu: u32, link_up: bool) {
        let before = std::mem::replace(&mut self.facts, PortFacts::of(mac, mtu, link_up));
        self.unread = false;
        if before.link_up != link_up {
            self.carrier_changes += 1;
            info!(port = %self.config.name, up = link_up, "link");
        }
    }

    /// The interface is gone, or the station has let it go.
    pub fn gone(&mut self) {
        self.carrier_changes += u64::from(self.facts.link_up);
        (self.facts.link_up, self.unread) = (false, false);
    }

    /// How XDP is attached; `None` while the interface is gone.
    pub fn mode(&self) -> Option<Attached> {
        self.program.as_ref().map(|program| program.mode())
    }

    /// Its link in a word.
    pub fn link(&self) -> &'static str {
        match (&self.program, self.facts.link_up) {
            (None, _) => "missing",
            (_, true) => "up",
            (_, false) => "down",
        }
    }

    /// What the XDP program counted.
    pub fn xdp_counters(&self) -> Option<XdpCounters> {
        self.program.as_ref()?.counters().ok()
    }

    /// Takes in what an audit found; false where the port must be closed.
    pub fn audited(&mut self, audit: Result<Audit, AuditError>) -> bool {
        let name = &self.config.name;
        let Audit { restored, trouble } = match audit {
            Ok(audit) => audit,
            Err(error) => {
                let text = error.to_string();
                warn!(port = %name, error = text, "another hand changed the port: it is closed, and tried again");
                self.trouble = Some(text);
                return false;
            }
        };
        if !restored.is_empty() {
            self.repairs += 1;
            let now = Instant::now();
            if self.told.is_none_or(|told| now - told > TOLD) {
                self.told = Some(now);
                let (wrong, repairs) = (restored.join("; "), self.repairs);
                warn!(port = %name, wrong, repairs, "another hand changed the port; it is put right");
                self.repaired = Some(wrong);
            }
        }
        if self.trouble != trouble {
            match &trouble {
                Some(trouble) => warn!(port = %name, trouble, "the port is not as it should be"),
                None => info!(port = %name, "the port is well again"),
            }
            self.trouble = trouble;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_fails_takes_no_link_down_and_is_asked_again() {
        let text = "[station]\nname = \"s\"\n\n[[port]]\nname = \"p0\"\ninterface = \"eth0\"\nrole = \"core\"\n";
        let config = crate::config::parse(text, std::path::Path::new("/")).unwrap().ports.remove(0);
        let mut port = PortState::closed(config);
        let link = |up| Ok(Link { mac: [2, 0, 0, 0, 0, 1], mtu: 1500, up, ..Link::default() });
        let failed = || {
            let source = std::io::Error::from_raw_os_error(libc::ENOBUFS);
            Err(NicError::System { interface: "eth0".into(), step: "ask for it", source })
        };
        port.take_answer(link(true));
        port.take_answer(failed());
        assert!(port.facts.link_up && port.facts.mtu == 1500 && port.unread);
        port.take_answer(link(false));
        assert!(!port.facts.link_up && !port.unread);
        port.take_answer(link(true));
        port.take_answer(Err(NicError::NoInterface("eth0".into())));
        assert!(!port.facts.link_up && !port.unread, "one that is gone has no link");
        assert_eq!(port.carrier_changes, 4, "each loss and each return");
    }
}
