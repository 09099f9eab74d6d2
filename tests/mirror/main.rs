//! The mirror against a model of the kernel, and against the kernel itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod full_table;
mod model;
mod netlink;
mod table;
