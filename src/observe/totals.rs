//! Counters as plain numbers.

use crate::tables::counters::{ClassCounters, Counter, PortCounters, SlowCounters, VifCounters};
use crate::tables::qos::CLASSES;
use crate::tables::{DropReason, PuntReason, SlowOutcome, TapEvent, VifId};

/// A set of numbers under the names of an enumeration.
pub type Numbers<const N: usize> = [u64; N];

fn read<const N: usize>(counters: &[Counter; N]) -> Numbers<N> {
    std::array::from_fn(|i| counters[i].get())
}

macro_rules! totals {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)+ ;
        $($(#[$array_doc:meta])* $array:ident: $len:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)+
            $($(#[$array_doc])* pub $array: Numbers<{ $len }>,)+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: 0,)+ $($array: [0; $len],)+ }
            }
        }

        impl $name {
            /// Adds another's numbers.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
                $(self.$array.iter_mut().zip(&other.$array).for_each(|(a, b)| *a += b);)+
            }

            /// What came since `base`.
            pub fn since(mut self, base: &Self) -> Self {
                $(self.$field = self.$field.saturating_sub(base.$field);)+
                $(self.$array.iter_mut().zip(&base.$array)
                    .for_each(|(a, b)| *a = a.saturating_sub(*b));)+
                self
            }
        }
    };
}

/// Policed octets of one worker that passed in a direction, by its number: what was leased but for what is left of it.
pub(super) fn passed(counters: &VifCounters, direction: usize) -> u64 {
    counters.rare.meters[direction].leased.get().wrapping_sub(counters.leased[direction].get())
}

/// A counter of each class of a VIF; none has counted while the VIF has had no policy.
fn by_class(counters: &VifCounters, of: fn(&ClassCounters) -> &Counter) -> Numbers<CLASSES> {
    let classes = counters.rare.classes.get();
    classes.map_or([0; CLASSES], |classes| classes.each_ref().map(|class| of(class).get()))
}

totals! {
    /// A VIF's counters.
    VifTotals {
        /// Frames received.
        rx_frames,
        /// Octets received.
        rx_octets,
        /// Frames sent.
        tx_frames,
        /// Octets sent.
        tx_octets,
        /// Received frames that were forwarded.
        forwarded,
        /// Sent frames that the slow path made.
        originated,
        /// Frames of the slow path that could not be sent.
        originated_lost,
        ;
        /// Received frames that went to the slow path.
        punted: PuntReason::COUNT,
        /// Received frames that were dropped.
        drops: DropReason::COUNT,
        /// What became of the punted frames.
        slow: SlowOutcome::COUNT,
        /// What happened at the TAP.
        tap: TapEvent::COUNT,
        /// Frames that the VIF translated, by direction.
        translated: 2,
        /// Policed octets that passed, by direction.
        passed: 2,
        /// Those within the committed rate: of leases, so that they may be ahead of what passed.
        committed: 2,
        /// Frames that exceeded a bandwidth, by direction.
        exceeded_frames: 2,
        /// Their octets.
        exceeded_octets: 2,
        /// Frames that left by the VIF, by class of its policy.
        class_sent_frames: CLASSES,
        /// Their octets.
        class_sent_octets: CLASSES,
        /// Those of them that waited.
        class_waited_frames: CLASSES,
        /// Frames that exceeded their class's bandwidth.
        class_policed_frames: CLASSES,
        /// Their octets.
        class_policed_octets: CLASSES,
        /// Frames that found their class's queue full.
        class_full_frames: CLASSES,
        /// Their octets.
        class_full_octets: CLASSES,
        /// Frames that waited and did not leave.
        class_discarded_frames: CLASSES,
    }
}

impl VifTotals {
    /// One worker's numbers.
    pub fn read(counters: &VifCounters) -> VifTotals {
        VifTotals {
            rx_frames: counters.rx_frames.get(),
            rx_octets: counters.rx_octets.get(),
            tx_frames: counters.tx_frames.get(),
            tx_octets: counters.tx_octets.get(),
            forwarded: counters.forwarded.get(),
            originated: counters.rare.originated.get(),
            originated_lost: counters.rare.originated_lost.get(),
            punted: read(&counters.rare.punted),
            drops: read(&counters.rare.drops),
            slow: [0; SlowOutcome::COUNT],
            tap: [0; TapEvent::COUNT],
            translated: counters.rare.translated.each_ref().map(Counter::get),
            passed: std::array::from_fn(|way| passed(counters, way)),
            committed: counters.rare.meters.each_ref().map(|meter| meter.committed.get()),
            exceeded_frames: counters.rare.meters.each_ref().map(|m| m.exceeded_frames.get()),
            exceeded_octets: counters.rare.meters.each_ref().map(|m| m.exceeded_octets.get()),
            class_sent_frames: by_class(counters, |class| &class.sent_frames),
            class_sent_octets: by_class(counters, |class| &class.sent_octets),
            class_waited_frames: by_class(counters, |class| &class.waited_frames),
            class_policed_frames: by_class(counters, |class| &class.policed_frames),
            class_policed_octets: by_class(counters, |class| &class.policed_octets),
            class_full_frames: by_class(counters, |class| &class.full_frames),
            class_full_octets: by_class(counters, |class| &class.full_octets),
            class_discarded_frames: by_class(counters, |class| &class.discarded_frames),
        }
    }

    /// Adds the slow path's numbers.
    pub fn add_slow(&mut self, counters: &SlowCounters, id: VifId) {
        for &outcome in SlowOutcome::ALL {
            self.slow[outcome.index()] += counters.outcome(id, outcome).get();
        }
        for &event in TapEvent::ALL {
            self.tap[event.index()] += counters.tap(id, event).get();
        }
    }
}

totals! {
    /// A port's counters.
    PortTotals {
        /// Frames received.
        rx_frames,
        /// Octets received.
        rx_octets,
        /// Frames sent.
        tx_frames,
        /// Octets sent.
        tx_octets,
        /// Received frames that reached a VIF.
        to_vif,
        ;
        /// Received frames that were dropped before.
        drops: DropReason::COUNT,
        /// The kernel's counters: rx_dropped, rx_ring_full, rx_fill_ring_empty,
        /// rx_invalid_descriptors, tx_invalid_descriptors, tx_ring_empty, refused_descriptors.
        kernel: 7,
    }
}

impl PortTotals {
    /// One worker's numbers.
    pub fn read(counters: &PortCounters) -> PortTotals {
        let kernel = &counters.kernel;
        PortTotals {
            rx_frames: counters.rx_frames.get(),
            rx_octets: counters.rx_octets.get(),
            tx_frames: counters.tx_frames.get(),
            tx_octets: counters.tx_octets.get(),
            to_vif: counters.to_vif.get(),
            drops: read(&counters.drops),
            kernel: [
                kernel.rx_dropped.get(),
                kernel.rx_ring_full.get(),
                kernel.rx_fill_ring_empty.get(),
                kernel.rx_invalid_descriptors.get(),
                kernel.tx_invalid_descriptors.get(),
                kernel.tx_ring_empty.get(),
                kernel.refused_descriptors.get(),
            ],
        }
    }
}
