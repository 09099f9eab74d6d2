//! The only place of the FIB where `unsafe` is allowed: the memory that workers read while the control
//! thread writes it.
//!
//! Everything shared is accessed atomically and every offset that a reader can form is inside the mapping,
//! so that a mistake elsewhere gives a wrong next hop, never a wild read.
#![allow(unsafe_code)]

mod region;

pub(super) use region::Region;
