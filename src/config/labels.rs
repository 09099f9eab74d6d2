//! `customer`, `description` and `circuit` of a port, VRF or VIF.

use super::fields::Fields;

/// The longest of each, in characters: a line of a table.
const LONGEST: usize = 100;

/// Whose a port, VRF or VIF is, and what it is for: words for people and their other systems. Packets are not forwarded
/// or counted by them; a configuration is refused that puts VIFs of two customers into one VRF of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Labels {
    /// The customer whose it is.
    #[serde(default)]
    pub customer: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The circuit, order or service that it belongs to.
    #[serde(default)]
    pub circuit: Option<String>,
}

pub(super) fn labels(fields: &Fields<'_>) -> Labels {
    Labels {
        customer: label(fields, "customer"),
        description: label(fields, "description"),
        circuit: label(fields, "circuit"),
    }
}

fn label(fields: &Fields<'_>, key: &'static str) -> Option<String> {
    let text = fields.string(key)?;
    let message = if text.value.trim().is_empty() {
        "is empty".to_owned()
    } else if text.value.chars().any(char::is_control) {
        format!("{:?} has a control character", text.value)
    } else if text.value.chars().count() > LONGEST {
        format!("is longer than {LONGEST} characters")
    } else {
        return Some(text.value.to_owned());
    };
    fields.refuse(&text.span, key, message, "write a few words on one line, or remove it");
    None
}

/// "field old -> new" of the fields that differ.
pub(super) fn changes(fields: &[(&str, String, String)]) -> Option<String> {
    let changed: Vec<String> = fields
        .iter()
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name} {old} -> {new}"))
        .collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

/// What changes of what a thing is called.
pub(super) fn label_changes(a: &Labels, b: &Labels) -> [(&'static str, String, String); 3] {
    let of = |label: &Option<String>| label.clone().unwrap_or_else(|| "none".to_owned());
    [
        ("customer", of(&a.customer), of(&b.customer)),
        ("description", of(&a.description), of(&b.description)),
        ("circuit", of(&a.circuit), of(&b.circuit)),
    ]
}
