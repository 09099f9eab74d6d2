//! The only place of the FIB where `unsafe` is allowed: the memory that workers read while the control
//! thread writes it, and the vector code that reads it.
//!
//! Everything shared is accessed entry by entry, each as a whole: through atomics, or by inline assembly that the
//! processor executes so. Every offset that a reader can form is inside the mapping, so a mistake elsewhere gives a
//! wrong next hop, never a wild read.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
mod avx512;
mod kernels;
mod race;
#[cfg_attr(loom, path = "region_loom.rs")]
mod region;

pub use race::Choice;

pub(super) use kernels::{Kernels, LANES, Task};
pub(super) use region::{Region, View};
