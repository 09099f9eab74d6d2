//! Who may make which request.

use super::Request;

/// Who may make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Root, the daemon's own user, and members of `station-read` and `station-admin`.
    Ask,
    /// The same but for members of `station-read` alone; the log has a line of it. `ping` is of these: it sends into
    /// customers' networks.
    Change,
    /// Root, the daemon's own user and members of `station-mirror`, since it leads customers' traffic elsewhere; the log
    /// has a line of it.
    Mirror,
    /// Root and the daemon's own user, since it shows customers' traffic or secrets; the log has a line of it.
    Own,
}

impl Request {
    /// Its name in the protocol.
    pub fn name(&self) -> String {
        let fields = serde_json::to_value(self).unwrap_or_default();
        fields["request"].as_str().unwrap_or_default().to_owned()
    }

    /// Who may make it.
    pub const fn right(&self) -> Right {
        match self {
            Request::Capture(_)
            | Request::ConfigShow { secrets: true, .. }
            | Request::ConfigDiff { secrets: true, .. } => Right::Own,
            Request::MirrorStart(_) | Request::MirrorStop { .. } => Right::Mirror,
            _ if self.is_change() => Right::Change,
            _ => Right::Ask,
        }
    }

    /// Whether it changes or sends anything.
    pub const fn is_change(&self) -> bool {
        !matches!(
            self,
            Request::Version
                | Request::ShowPorts
                | Request::ShowPortDetails
                | Request::ShowVifs
                | Request::ShowRates(_)
                | Request::ShowBandwidth
                | Request::ShowAddressLimits(_)
                | Request::ShowQos
                | Request::ShowVrfs
                | Request::ShowAcl(_)
                | Request::ShowExchanges
                | Request::ShowReachability(_)
                | Request::ShowRoutes(_)
                | Request::ShowNeighbors
                | Request::ShowTranslations
                | Request::ShowFlowLog
                | Request::ShowTalkers(_)
                | Request::ShowLatency
                | Request::ShowProbes
                | Request::ShowProbeHistory(_)
                | Request::ShowCollectors
                | Request::ShowTunnels
                | Request::ShowMappings
                | Request::ShowVrfMappings(_)
                | Request::ShowStations
                | Request::ShowRpki
                | Request::ShowCounters(_)
                | Request::ShowDrops(_)
                | Request::ShowWorkers
                | Request::ShowBgp { .. }
                | Request::ShowBgpRoutes { .. }
                | Request::ShowConsistency
                | Request::ShowOutages(_)
                | Request::ShowSla(_)
                | Request::ShowDrains
                | Request::ShowMirrors
                | Request::ShowDrills { .. }
                | Request::ShowBilling(_)
                | Request::Capture(_)
                | Request::Events(_)
                | Request::Lookup(_)
                | Request::Explain(_)
                | Request::Reload { dry_run: true }
                | Request::ConfigHistory
                | Request::ConfigShow { .. }
                | Request::ConfigDiff { .. }
                | Request::ConfigCheck(_)
        )
    }
}
