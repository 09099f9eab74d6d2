//! Newtypes for the dense indices that tie the tables together. An id is an index, never a pointer
//! chased across the heap; a slot is reused only once every worker has passed a quiescent state.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id as an index into its table.
            #[inline(always)]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// One NIC: a cross-connect or a core uplink.
    PortId(u8)
);

impl PortId {
    /// The first VTEP; below it are NICs.
    pub const FIRST_VTEP: PortId = PortId(64);
}

id!(
    /// One virtual interface: (port, outer VID [, inner VID]) -> VRF.
    VifId(u16)
);
id!(
    /// One routing domain.
    VrfId(u16)
);
id!(
    /// What of one VRF another one reaches.
    ExchangeId(u16)
);
id!(
    /// A next-hop group: what a prefix points at. 24 bits; 0 is "no route".
    GroupId(u32)
);
id!(
    /// A resolved egress, or the reason why there is none. 0 is "no route".
    AdjacencyId(u32)
);
