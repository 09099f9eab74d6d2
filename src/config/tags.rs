//! A VIF's VLAN tags, and which tags a port has already given to a VIF.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::fields::{At, Fields};
use crate::tables::Tags;

const HELP: &str = "write a VLAN id from 1 to 4094, or \"OUTER.INNER\"";

/// The tags in `vlan` and `service_tag`.
pub(super) fn read(fields: &Fields<'_>) -> Option<At<Tags>> {
    let service = fields.boolean("service_tag", false);
    if fields.is_integer("vlan") {
        let vlan = fields.integer("vlan", 1..=4094_u16)?;
        return Some(At {
            value: Tags { outer: vlan.value, inner: None, service },
            span: vlan.span,
        });
    }
    let text = fields.need_string("vlan", "100")?;
    let (outer, inner) = match text.value.split_once('.') {
        Some((outer, inner)) => (vid(outer), Some(vid(inner))),
        None => (vid(text.value), None),
    };
    match (outer, inner) {
        (Some(outer), None) => Some((outer, None)),
        (Some(outer), Some(Some(inner))) => Some((outer, Some(inner))),
        _ => {
            fields.refuse(&text.span, "vlan", format!("{:?} is no VLAN", text.value), HELP);
            None
        }
    }
    .map(|(outer, inner)| At { value: Tags { outer, inner, service }, span: text.span })
}

/// A VLAN id that a frame can carry: 0 means "no VLAN", 4095 is reserved (802.1Q 9.6).
fn vid(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let vid = digits.then(|| text.parse().ok())??;
    (1..=4094).contains(&vid).then_some(vid)
}

/// What an outer VLAN id of a port is used for so far.
struct Outer {
    service: bool,
    /// The place of the VIF for each inner VLAN id; `None` is a VIF with one tag.
    inner: HashMap<Option<u16>, Range<usize>>,
    place: Range<usize>,
}

/// All VLANs of all ports.
#[derive(Default)]
pub(super) struct TaggedVlans(HashMap<(Arc<str>, u16), Outer>);

impl TaggedVlans {
    /// Adds a VIF's tags to its port; refuses those that another VIF's frames could carry too.
    pub(super) fn add(&mut self, fields: &Fields<'_>, port: &Arc<str>, tags: &At<Tags>) {
        let Tags { outer, inner, service } = tags.value;
        let known = self.0.entry((port.clone(), outer)).or_insert_with(|| Outer {
            service,
            inner: HashMap::new(),
            place: tags.span.clone(),
        });
        let line = |place: &Range<usize>| fields.problems.line(place);
        let refused = if let Some(place) = known.inner.get(&inner) {
            let message =
                format!("{} is already used on port {port:?}, line {}", tags.value, line(place));
            Some(("vlan", message, "use another VLAN id"))
        } else if !known.inner.is_empty() && inner.is_some() == known.inner.contains_key(&None) {
            let line = line(&known.place);
            let message =
                format!("VLAN {outer} has one tag and two tags on port {port:?} (line {line})");
            Some(("vlan", message, "use another outer VLAN id for the VIFs with two tags"))
        } else if known.service != service {
            let line = line(&known.place);
            let message =
                format!("VLAN {outer} is 802.1Q and 802.1ad on port {port:?} (line {line})");
            Some((
                "service_tag",
                message,
                "use the same service_tag for all VIFs of an outer VLAN id",
            ))
        } else {
            None
        };
        match refused {
            Some((key, message, help)) => fields.refuse(&tags.span, key, message, help),
            None => {
                known.inner.insert(inner, tags.span.clone());
            }
        }
    }
}
