//! A configuration of BIRD, and what of it is left out for a time without being configured away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ports that lead to what the station originates, by the suffix of the protocols' names.
pub(super) type Ways = BTreeMap<String, BTreeSet<Arc<str>>>;

/// A configuration of BIRD. It holds passwords: nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub(super) text: String,
    pub(super) ways: Ways,
}

impl Rendered {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The suffixes of the protocols that originate what only these ports lead to.
    pub(super) fn dead_ways(&self, dead_ports: &BTreeSet<Arc<str>>) -> BTreeSet<String> {
        let dead = self.ways.iter().filter(|(_, ports)| ports.is_subset(dead_ports));
        dead.map(|(way, _)| way.clone()).collect()
    }

    /// The text, with these sessions disabled, and the protocols that have one of these suffixes. BIRD would
    /// start them with the next `configure` if the text did not say so.
    pub(super) fn text_without(
        &self,
        sessions: &BTreeSet<String>,
        dead_ways: &BTreeSet<String>,
    ) -> String {
        let mut text = String::with_capacity(self.text.len() + 1024);
        for line in self.text.lines() {
            text.push_str(line);
            text.push('\n');
            let name = |kind: &str| line.strip_prefix(kind)?.strip_suffix("' {");
            let shut = name("protocol bgp '").is_some_and(|name| sessions.contains(name));
            let dead = || {
                let name = name("protocol static 's")?;
                Some(dead_ways.contains(&name[name.find(':')?..]))
            };
            if shut || dead() == Some(true) {
                text.push_str("  disabled yes;\n");
            }
        }
        text
    }
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} octets)", self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shut_or_dead_is_disabled_in_the_text() {
        let text = "protocol static 's4.a' {\n}\nprotocol static 's4.a:0' {\n}\nprotocol static 's4.a:0-1' {\n}\n\
                    protocol static 'c6.v0.1' {\n}\nprotocol bgp 'b.v0.1.fd00::2' {\n}\nprotocol bgp 'b.v0.1.fd00::3' {\n}\n";
        let ports =
            |ports: &[&str]| ports.iter().map(|port| Arc::from(*port)).collect::<BTreeSet<_>>();
        let ways = [(":0".to_owned(), ports(&["p"])), (":0-1".to_owned(), ports(&["p", "q"]))];
        let rendered = Rendered { text: text.into(), ways: ways.into() };
        assert_eq!(rendered.text_without(&BTreeSet::new(), &BTreeSet::new()), text);
        assert!(rendered.dead_ways(&ports(&["q"])).is_empty());
        let dead = rendered.dead_ways(&ports(&["p"]));
        let shut = BTreeSet::from(["b.v0.1.fd00::2".to_owned()]);
        assert_eq!(
            rendered.text_without(&shut, &dead),
            text.replace("'s4.a:0' {\n", "'s4.a:0' {\n  disabled yes;\n")
                .replace("'b.v0.1.fd00::2' {\n", "'b.v0.1.fd00::2' {\n  disabled yes;\n")
        );
        assert_eq!(rendered.dead_ways(&ports(&["p", "q"])).len(), 2);
    }
}
