//! Tests of the FIB as a whole.

mod model;
mod unit;
