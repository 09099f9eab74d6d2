//! What one configuration's text changes of another, line by line.

use std::fmt::Write;
use std::time::{Duration, Instant};

use similar::{Algorithm, ChangeTag, capture_diff_slices_deadline, group_diff_ops};

use super::secrets::hide;

/// Lines around a change that are shown too.
const CONTEXT: usize = 3;
/// How long the search for the shortest difference may take; then a longer one is as good.
const PATIENCE: Duration = Duration::from_secs(2);

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// The difference of two texts as diff(1) writes it (`-u`), empty where they are the same. Without `secrets`
/// these are hidden; lines in which only a secret differs are shown as different all the same.
pub fn unified(old: &str, new: &str, names: [&str; 2], secrets: bool) -> String {
    let shown = |text: &str| if secrets { text.to_owned() } else { hide(text) };
    let (shown_old, shown_new) = (shown(old), shown(new));
    let (old, new, shown_old, shown_new) =
        (lines(old), lines(new), lines(&shown_old), lines(&shown_new));
    let deadline = Some(Instant::now() + PATIENCE);
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    let mut text = String::new();
    for group in group_diff_ops(ops, CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        if text.is_empty() {
            let _ = writeln!(text, "--- {}\n+++ {}", names[0], names[1]);
        }
        let range = |from: usize, to: usize| match to - from {
            // As diff(1): the line before.
            0 => format!("{from},0"),
            1 => format!("{}", from + 1),
            many => format!("{},{many}", from + 1),
        };
        let before = range(first.old_range().start, last.old_range().end);
        let after = range(first.new_range().start, last.new_range().end);
        let _ = writeln!(text, "@@ -{before} +{after} @@");
        for change in group.iter().flat_map(|op| op.iter_changes(&shown_old, &shown_new)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            let _ = writeln!(text, "{sign}{}", change.value());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_its_lines_and_no_secrets() {
        let old = "name = 1\nb = 2\n[[vif.bgp]]\npassword = \"S3CR3T\"\nlocal_as = 5\n";
        let new = "name = 1\n[[vif.bgp]]\npassword = \"0THER\"\nlocal_as = 5\npeer_as = 6\n";
        assert_eq!(
            unified(old, new, ["1", "2"], false),
            "--- 1\n+++ 2\n@@ -1,5 +1,5 @@\n name = 1\n-b = ********\n [[vif.bgp]]\n-password = ********\n\
             +password = ********\n local_as = 5\n+peer_as = 6\n"
        );
        assert!(unified(old, new, ["1", "2"], true).contains("-password = \"S3CR3T\"\n"));
        assert_eq!(unified(old, old, ["1", "2"], false), "");
        assert_eq!(
            unified("", "name = 1\n", ["1", "2"], false),
            "--- 1\n+++ 2\n@@ -0,0 +1 @@\n+name = 1\n"
        );
    }
}
