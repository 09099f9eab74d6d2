//! What a worker is given and gives back between two turns: what looks at its frames beside the path.

use std::sync::Arc;

use super::Worker;
use super::capture::Captures;
use super::flows::Flows;
use super::latency::Latency;
use super::talkers::Talkers;
use crate::tables::mirrors::Mirror;

impl<P> Worker<P> {
    /// The worker's captures, to begin and end them between turns.
    pub fn captures_mut(&mut self) -> &mut Captures {
        &mut self.captures
    }

    /// These are the mirrors from now on. Between turns.
    pub fn mirror(&mut self, mirrors: &[Arc<Mirror>]) {
        self.copies.follow(mirrors);
    }

    /// Gives the worker flows to log in, or none; the ones so far are the caller's, who exports them. Between turns.
    pub fn exchange_flows(&mut self, flows: Option<Box<Flows>>) -> Option<Box<Flows>> {
        if let Some(flows) = &self.flows {
            flows.leave();
        }
        std::mem::replace(&mut self.flows, flows)
    }

    /// Gives the worker frames to time, or none; what it had so far is the caller's, to let go of. Between turns.
    pub fn exchange_latency(&mut self, latency: Option<Box<Latency>>) -> Option<Box<Latency>> {
        std::mem::replace(&mut self.latency, latency)
    }

    /// What the worker times, to say how frames are stamped. Between turns.
    pub fn latency_mut(&mut self) -> Option<&mut Latency> {
        self.latency.as_deref_mut()
    }

    /// Has the worker look for top talkers, or not; what it had so far is the caller's, to let go of. Between turns.
    pub fn exchange_talkers(&mut self, talkers: Option<Box<Talkers>>) -> Option<Box<Talkers>> {
        std::mem::replace(&mut self.talkers, talkers)
    }
}
