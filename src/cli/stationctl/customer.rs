//! `--customer`: only what concerns one customer.

use std::collections::HashSet;
use std::path::Path;

use super::Failure;
use crate::admin::client::{self, Client};
use crate::admin::protocol::{ErrorKind, Refusal, Request};
use crate::admin::rows::{Labels, PortRow, VifRow, VrfRow};

/// What a row is about.
pub(super) enum Subject<'a> {
    /// A port.
    Port(&'a str),
    /// A VIF.
    Vif(&'a str),
    /// A VRF.
    Vrf(&'a str),
    /// Everything.
    Station,
}

impl<'a> Subject<'a> {
    /// By the words of the protocol: `port` or `vif`.
    pub(super) fn of(scope: &str, name: &'a str) -> Subject<'a> {
        if scope == "port" { Subject::Port(name) } else { Subject::Vif(name) }
    }
}

/// What a customer has.
pub(super) struct Customer {
    ports: HashSet<String>,
    vifs: HashSet<String>,
    vrfs: HashSet<String>,
}

impl Customer {
    /// Asks the station for it.
    pub(super) fn ask(socket: &Path, name: &str) -> Result<Customer, Failure> {
        let is = |labels: &Labels| labels.customer.as_deref() == Some(name);
        let (mut ports, mut vifs, mut vrfs) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut asked = Client::connect(socket, &Request::ShowPorts)?;
        while let Some(line) = asked.line::<PortRow>()? {
            ports.extend(line.rows.into_iter().filter(|row| is(&row.labels)).map(|row| row.name));
        }
        let mut asked = Client::connect(socket, &Request::ShowVifs)?;
        while let Some(line) = asked.line::<VifRow>()? {
            vifs.extend(line.rows.into_iter().filter(|row| is(&row.labels)).map(|row| row.name));
        }
        let mut asked = Client::connect(socket, &Request::ShowVrfs)?;
        while let Some(line) = asked.line::<VrfRow>()? {
            vrfs.extend(line.rows.into_iter().filter(|row| is(&row.labels)).map(|row| row.name));
        }
        if ports.is_empty() && vifs.is_empty() && vrfs.is_empty() {
            let message = format!("no port, VIF or VRF has the customer {name:?}");
            let refusal = Refusal::new(ErrorKind::NotFound, message);
            return Err(client::Failure::Refused(refusal).into());
        }
        Ok(Customer { ports, vifs, vrfs })
    }

    /// Whether what a row is about concerns the customer.
    pub(super) fn has(&self, subject: &Subject<'_>) -> bool {
        match *subject {
            Subject::Port(name) => self.ports.contains(name),
            Subject::Vif(name) => self.vifs.contains(name),
            Subject::Vrf(name) => self.vrfs.contains(name),
            Subject::Station => true,
        }
    }
}
