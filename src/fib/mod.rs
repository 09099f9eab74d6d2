//! Longest-prefix match.
#[derive(Clone, Debug)]
pub struct FibReader;
impl FibReader {
    pub fn lookup4_burst(&self, _: &[u32], _: &[u32], _: &mut [u32]) {}
    pub fn lookup6_burst(&self, _: &[u32], _: &[u128], _: &mut [u32]) {}
}
