//! The page in the older text format of Prometheus (0.0.4), for readers that do not ask for OpenMetrics.

/// The same samples: a counter's name has its `_total` in the comments too, an info is a gauge, and there are neither
/// units nor an end mark.
pub(super) fn classic(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    // HELP comes before TYPE, which says what the name is to be.
    let mut help = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            text += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::classic;

    #[test]
    fn names_and_kinds_are_those_of_the_older_format() {
        let page = "# HELP a Octets.\n# TYPE a counter\n# UNIT a bytes\na_total{x=\"# HELP\"} 1\n\
                    # HELP b About.\n# TYPE b info\nb_info{y=\"\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 2\n# EOF\n";
        let text = "# HELP a_total Octets.\n# TYPE a_total counter\na_total{x=\"# HELP\"} 1\n\
                    # HELP b_info About.\n# TYPE b_info gauge\nb_info{y=\"\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 2\n";
        assert_eq!(classic(page), text);
    }
}
