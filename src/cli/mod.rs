//! The two command lines.

pub mod stationctl;
pub mod stationd;
