//! Keeps stationctl(1) what the command line is: the page is generated from it, so that a command's help and its
//! manual are one text. What is no command's stands in `scripts/man/stationctl.1.in`.

use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;

use super::args::Args;
use super::json_help::JSON_HELP;

const MANUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/man");
const WRITE: &str = "STATION_WRITE_MANUAL";

/// A part of a page as `clap_mangen` writes it.
fn roff(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    render(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// What follows the headings that `clap_mangen` begins a section with.
fn body(section: &str) -> &str {
    section.split_once("\n.SH ").and_then(|(_, section)| section.split_once('\n')).unwrap().1
}

/// A description or a list of options, without the empty lines that mandoc(1) warns of; names between backticks are bold.
fn text(section: &str) -> String {
    let mut page = String::new();
    for (part, piece) in body(section).replace("\n.br\n\n.br\n", "\n.br\n").split('`').enumerate() {
        page += if part == 0 { "" } else { ["\\fR", "\\fB"][part % 2] };
        page += piece;
    }
    page
}

/// Every command that does something, and every group of them, with a heading of its own. What every command of a group
/// takes is said with the group.
fn commands(of: &Command, path: &str, said: &[&str], page: &mut String) {
    for command in of.get_subcommands().filter(|command| command.get_name() != "help") {
        let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
        let group = command.has_subcommands();
        let shown = |arg: &Arg| {
            !arg.is_hide_set()
                && !said.contains(&arg.get_id().as_str())
                && (!group || arg.is_global_set())
        };
        let mut own = command.clone().bin_name(&path);
        own = own.mut_args(|arg| if shown(&arg) { arg } else { arg.hide(true) });
        let takes: Vec<_> =
            own.get_arguments().filter(|arg| shown(arg)).map(|arg| arg.get_id().as_str()).collect();
        if !group || !takes.is_empty() {
            let man = Man::new(own.clone());
            *page += &format!(".SS \"{}\"\n", path.replace('-', "\\-"));
            *page += body(&roff(|to| man.render_synopsis_section(to)));
            *page += ".PP\n";
            *page += &text(&roff(|to| man.render_description_section(to)));
            if !takes.is_empty() {
                *page += &text(&roff(|to| man.render_options_section(to)));
            }
        }
        if group {
            commands(command, &path, &[said, &takes].concat(), page);
        }
    }
}

#[test]
fn the_manual_is_generated_from_the_command_line() {
    let mut root = Args::command();
    root.build();
    let mut list = String::new();
    commands(&root, "", &["socket", "json", "help", "version"], &mut list);
    let man = Man::new(Args::command()).date("2026-11-29").manual("Station");
    let frame = include_str!("../../../scripts/man/stationctl.1.in");
    let mut page = String::from(
        ".\\\" Generated from the command line by src/cli/stationctl/manual.rs; the rest is stationctl.1.in.\n",
    );
    page += &roff(|to| man.render_title(to));
    let (before, after) = frame.split_once("@COMMANDS@\n").unwrap();
    page += before;
    page += &list;
    page +=
        &format!(".SH JSON\n.nf\n{}\n.fi\n", JSON_HELP.replace('\\', "\\e").replace('-', "\\-"));
    page += after;
    let path = Path::new(MANUAL).join("stationctl.1");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, page).unwrap();
    } else {
        let said = std::fs::read_to_string(path).unwrap();
        assert!(said == page, "stationctl(1) differs: run the test with {WRITE}=1");
    }
}
