//! Keeps the house as `src/lib.rs` draws it: which module may use which, where `unsafe` may stand,
//! how long a file may be, and that nothing outside tests panics on purpose.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules a module uses. What is not listed here does not exist: a new module is a line
/// here and a decision; what none of its files uses any more goes.
const MAY_USE: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("acl", &["wire", "cpu"]),
    ("fib", &[]),
    ("netlink", &[]),
    ("netns", &[]),
    ("optics", &[]),
    ("cpu", &[]),
    ("port", &["netlink", "cpu", "wire"]),
    ("limit", &[]),
    ("clock", &[]),
    ("disk", &[]),
    ("blocks", &["disk"]),
    ("shares", &[]),
    ("prefixes", &[]),
    ("log", &["limit", "clock"]),
    // `cpu` for tables that eight lanes are looked up in at once.
    ("tables", &["wire", "acl", "cpu"]),
    // `port` for the frames themselves, which a stage reads and rewrites in place.
    ("stage", &["wire", "acl", "fib", "tables", "port", "limit", "shares", "cpu"]),
    ("path", &["stage", "cpu"]),
    ("explain", &["wire", "fib", "tables", "stage", "path", "port"]),
    ("publish", &[]),
    // `wire` for the tags by which a capture knows a VIF's frames before they have a verdict.
    // `shares` for the queues to and from the slow path.
    // `cpu` for what is chosen for flow logs, eight lanes at once.
    // `limit` for the time that captures may take.
    (
        "worker",
        &["wire", "fib", "tables", "stage", "path", "port", "publish", "shares", "cpu", "limit"],
    ),
    ("probes", &["limit", "blocks", "clock", "disk"]),
    ("slowpath", &["wire", "acl", "fib", "tables", "limit", "shares", "probes"]),
    ("mirror", &["netlink", "tables"]),
    ("ledger", &["clock", "disk"]),
    ("history", &["disk"]),
    ("users", &[]),
    // `ledger` for its causes and its file of lines, `config` for where events go.
    ("events", &["ledger", "config", "limit", "users", "clock", "disk"]),
    ("tap", &["wire", "tables", "netlink", "port"]),
    ("config", &["wire", "acl", "clock", "tables", "probes"]),
    // `events` for what controllers do.
    ("mappings", &["wire", "tables", "config", "events", "prefixes"]),
    // `ledger`, `history`, `events`, `mappings` and `optics` for the rows that are their entries; requests are events too.
    ("admin", &["tables", "config", "ledger", "history", "events", "mappings", "optics"]),
    // `admin` for the rows that are on the page, and for how a socket file is made.
    ("metrics", &["clock", "config", "admin", "probes", "observe"]),
    (
        "control",
        &[
            "wire", "fib", "tables", "config", "publish", "slowpath", "mirror", "mappings",
            "prefixes", "shares",
        ],
    ),
    ("observe", &["tables", "worker"]),
    ("billing", &["blocks", "clock", "disk", "observe", "tables"]),
    ("ipfix", &["wire", "clock", "config", "tables", "worker"]),
    (
        "bird",
        &["tables", "config", "admin", "control", "netns", "events", "users", "clock", "limit"],
    ),
    (
        "replay",
        &[
            "wire", "fib", "tables", "port", "publish", "worker", "slowpath", "mirror", "config",
            "admin", "control",
        ],
    ),
    (
        "daemon",
        &[
            "wire", "acl", "fib", "tables", "netlink", "port", "publish", "worker", "slowpath",
            "mirror", "ledger", "history", "config", "admin", "control", "observe", "bird", "tap",
            "netns", "log", "events", "explain", "metrics", "optics", "clock", "billing", "blocks",
            "disk", "mappings", "ipfix", "probes",
        ],
    ),
    ("cli", &["wire", "tables", "admin", "replay", "daemon", "log", "clock"]),
];

/// Files in which `unsafe` may stand, and why.
const UNSAFE: &[(&str, &str)] = &[
    ("fib/raw/region.rs", "the memory that readers and the writer share"),
    ("fib/raw/region_loom.rs", "the same, for the model checker"),
    ("fib/raw/kernels.rs", "calls of the processor's variants"),
    ("fib/raw/avx512.rs", "gathers"),
    ("fib/raw/race.rs", "clock_gettime(2): a thread's processor time"),
    ("cpu/mod.rs", "instructions of the processor's own"),
    ("cpu/eights.rs", "the same, and gathers"),
    ("port/area.rs", "the memory that the kernel, or a NIC, writes frames into"),
    ("port/af_xdp/ring.rs", "rings shared with the kernel"),
    ("port/af_xdp/socket.rs", "system calls of AF_XDP"),
    ("port/af_xdp/bpf.rs", "bpf(2)"),
    ("port/af_xdp/bpffs.rs", "statfs(2) and mount(2)"),
    ("port/af_xdp/ethtool.rs", "ioctl(2)"),
    ("netlink/mod.rs", "poll(2)"),
    ("netns.rs", "unshare(2)"),
    ("tap/device.rs", "ioctl(2)"),
    ("ipfix/stream.rs", "ioctl(2): what a collector has not acknowledged"),
    ("events/hook.rs", "close_range(2) between fork and exec"),
    ("cli/stationctl/libpcap.rs", "dlopen(3) and libpcap's functions"),
    ("port/af_xdp/nic.rs", "sockets and if_indextoname(3)"),
];

/// Files that may be longer than [`MAX_LINES`], and why.
const LONG: &[(&str, &str)] = &[
    ("events/kinds.rs", "the list of all kinds, which is one enum and one page of the manual"),
    ("port/af_xdp/port.rs", "a socket's whole life: opening, moving frames, closing"),
    ("port/af_xdp/ring.rs", "both ends of a ring, and the tests that need both"),
];

const MAX_LINES: usize = 400;
const MAX_MAIN_LINES: usize = 50;

struct Source {
    /// Path below `src`.
    path: String,
    /// The text.
    text: String,
    /// The text without comments, strings and test modules.
    code: String,
}

impl Source {
    /// `fib` of `fib/raw/slab.rs`, `path` of `path.rs`.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many modules deep the file's own module is below the crate.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// Whether the whole file is test code: its module is declared under `#[cfg(test)]`.
    fn is_test(&self, test_modules: &BTreeSet<String>) -> bool {
        test_modules.iter().any(|module| {
            self.path
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    }

    /// Paths of the modules that this file declares for tests alone.
    fn test_modules(&self) -> Vec<String> {
        let directory = match self.path.strip_suffix("mod.rs").or(self.path.strip_suffix("lib.rs"))
        {
            Some(directory) => directory.to_owned(),
            None => format!("{}/", self.path.trim_end_matches(".rs")),
        };
        let words: Vec<&str> = self.text.split_whitespace().collect();
        let mut found = Vec::new();
        for at in 0..words.len() {
            let rest = &words[at + 1..];
            let name = match rest {
                ["mod", name, ..] | [_, "mod", name, ..] => name.strip_suffix(';'),
                _ => None,
            };
            if let (true, Some(name)) =
                (TEST_MARKS.iter().any(|mark| words[at].starts_with(mark)), name)
            {
                found.push(format!("{directory}{name}"));
            }
        }
        found
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "found only {} source files", files.len());
    let sources: Vec<Source> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let code = without_tests(&without_comments(&text));
            Source { path, text, code }
        })
        .collect();
    let test_modules = sources.iter().flat_map(Source::test_modules).collect();
    sources.into_iter().filter(|source| !source.is_test(&test_modules)).collect()
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Blanks comments and the insides of strings; keeps line breaks.
fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let skip = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            rest.windows(2).position(|pair| pair == ['*', '/']).map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with(&['r', '#', '"']) {
            rest.windows(2).position(|pair| pair == ['"', '#']).map_or(rest.len(), |end| end + 2)
        } else if rest[0] == '"' {
            string_length(rest)
        } else if rest.starts_with(&['\'', '"', '\'']) {
            3
        } else {
            out.push(rest[0]);
            at += 1;
            continue;
        };
        out.extend(rest[..skip].iter().filter(|&&c| c == '\n'));
        at += skip;
    }
    out
}

/// The length of the string literal that begins here, its quotes included.
fn string_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// What marks an item as test code.
const TEST_MARKS: &[&str] = &["#[cfg(test)]", "#[cfg(all(test", "#[cfg(miri)]"];

/// Cuts what stands under a mark: one item, to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = TEST_MARKS.iter().filter_map(|mark| rest.find(mark)).min() {
        out.push_str(&rest[..start]);
        let item = &rest[start..];
        let mut depth = 0_i32;
        let mut end = item.len();
        for (at, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                end = at + 1;
                break;
            }
        }
        rest = &item[end..];
    }
    out + rest
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The modules named after each `prefix` in the code: `crate::a`, `crate::{a, b::c}`.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    c if depth == 0 && is_word(c) => name.push(c),
                    ',' if depth == 0 => {
                        names.insert(std::mem::take(&mut name));
                    }
                    // The rest of a path: only its first part counts.
                    ':' if depth == 0 && !name.ends_with(':') => name.push(':'),
                    _ => {}
                }
            }
            names.insert(name);
        } else {
            names.insert(rest.chars().take_while(|&c| is_word(c)).collect());
        }
    }
    names
        .into_iter()
        .map(|name| name.split(':').next().unwrap().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The modules of the crate that a file uses, its own left out.
fn uses(source: &Source, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut names = named_after(&source.code, "crate::");
    names.extend(named_after(&source.code, &"super::".repeat(source.depth())));
    names.into_iter().filter(|name| modules.contains(name) && name != source.module()).collect()
}

fn modules(sources: &[Source]) -> BTreeSet<String> {
    sources
        .iter()
        .map(|source| source.module().to_owned())
        .filter(|name| name != "lib" && name != "bin")
        .collect()
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn modules_depend_in_one_direction() {
    let sources = sources();
    let modules = modules(&sources);
    let mut faults = Vec::new();
    for module in &modules {
        if !MAY_USE.iter().any(|(name, _)| name == module) {
            faults.push(format!("module {module} is not in MAY_USE"));
        }
    }
    for source in sources.iter().filter(|source| modules.contains(source.module())) {
        let allowed = MAY_USE
            .iter()
            .find(|(name, _)| *name == source.module())
            .map_or(&[][..], |(_, allowed)| allowed);
        for used in uses(source, &modules) {
            if !allowed.contains(&used.as_str()) {
                faults.push(format!(
                    "src/{}: {} must not use {used}",
                    source.path,
                    source.module()
                ));
            }
        }
    }
    for (module, allowed) in MAY_USE {
        let used: BTreeSet<String> = sources
            .iter()
            .filter(|source| source.module() == *module)
            .flat_map(|source| uses(source, &modules))
            .collect();
        for edge in allowed.iter().filter(|edge| !used.contains(**edge)) {
            faults.push(format!("{module} does not use {edge}: take it off MAY_USE"));
        }
    }
    report(&faults);
}

/// A stage that says of which lanes it has something to say is in the list that makes the filter, so that it is neither
/// skipped nor visited without being asked; and nothing runs between the filter and the rewrite beside the list but `meter`,
/// which sees all that is left, and `translate_out`, which judges nothing but what it cannot do.
#[test]
fn every_filtered_stage_is_in_the_paths_list() {
    let sources = sources();
    let path = &sources.iter().find(|source| source.path == "path.rs").unwrap().code;
    let list = path.split("filter::filtered! {").nth(1).unwrap().split('}').next().unwrap();
    let listed: BTreeSet<&str> =
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let filtered: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.module() == "stage" && source.path != "stage/filter.rs")
        .filter(|source| source.code.contains("fn concerns("))
        .map(|source| source.path.trim_start_matches("stage/").trim_end_matches(".rs"))
        .collect();
    assert!(listed.len() > 3 && listed == filtered, "{listed:?} is not {filtered:?}");
    // A stage runs by the macro that lets somebody look on, or by itself.
    let runs = |line: &&str| line.starts_with("stage!(") || line.contains("::run(burst, context");
    let lines = path.lines().map(str::trim_start).filter(|line| !line.starts_with("$stage"));
    let run: Vec<&str> = lines.filter(runs).collect();
    let filter = run.iter().position(|line| line.contains("filter::run")).unwrap();
    // `exchange` only leads on what stands at a permit; what it leaves there `resolve` settles. `acl` only does in one go
    // what two of the filtered stages settle.
    let around: Vec<&str> = [&run[filter - 3..filter], &run[filter + 1..filter + 7]].concat();
    let stage = |line: &&str| line.split_inclusive(';').next().unwrap().to_owned();
    let around: Vec<String> = around.iter().map(stage).collect();
    let expected = [
        "group",
        "exchange",
        "acl",
        "address",
        "meter_in",
        "qos",
        "meter_out",
        "translate_out",
        "rewrite",
    ];
    assert_eq!(around, expected.map(|stage| format!("stage!({stage});")));
}

#[test]
fn control_never_touches_the_rings() {
    let faults: Vec<_> = sources()
        .iter()
        .filter(|source| source.module() == "control")
        .filter(|source| source.code.contains("af_xdp") || source.code.contains("crate::worker"))
        .map(|source| {
            format!("src/{}: control must not touch a worker or a port's rings", source.path)
        })
        .collect();
    report(&faults);
}

#[test]
fn unsafe_stands_only_where_it_is_expected() {
    let mut faults = Vec::new();
    let sources = sources();
    for source in &sources {
        let count = source.code.split(|c| !is_word(c)).filter(|&word| word == "unsafe").count();
        let listed = UNSAFE.iter().any(|(path, _)| *path == source.path);
        if count > 0 && !listed {
            faults.push(format!("src/{}: unsafe outside the files listed in UNSAFE", source.path));
        }
        if count == 0 && listed {
            faults.push(format!("src/{}: listed in UNSAFE, but has none", source.path));
        }
    }
    for (path, _) in
        UNSAFE.iter().filter(|(path, _)| !sources.iter().any(|source| source.path == *path))
    {
        faults.push(format!("src/{path}: listed in UNSAFE, but does not exist"));
    }
    report(&faults);
}

#[test]
fn nothing_panics_on_purpose() {
    const WORDS: &[&str] = &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];
    let mut faults = Vec::new();
    for source in sources() {
        for word in WORDS {
            for (at, _) in source.code.match_indices(word) {
                let before = source.code[..at].chars().next_back();
                if word.starts_with('.') || !before.is_some_and(is_word) {
                    faults.push(format!("src/{}: {word} outside tests", source.path));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if source.path.starts_with("bin/") && lines >= MAX_MAIN_LINES {
            faults.push(format!(
                "src/{}: {lines} lines; a binary parses arguments and calls the library",
                source.path
            ));
        }
        if lines > MAX_LINES && !LONG.iter().any(|(path, _)| *path == source.path) {
            faults.push(format!(
                "src/{}: {lines} lines; split it, or say in LONG why not",
                source.path
            ));
        }
    }
    report(&faults);
}

#[test]
fn every_file_says_what_it_is_for() {
    let faults: Vec<_> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("src/{}: begins without a `//!` comment", source.path))
        .collect();
    report(&faults);
}

#[test]
fn the_reader_of_sources_reads_them_right() {
    let code = without_tests(&without_comments(
        "use crate::{a::b, c::{d, e}, f}; // use crate::g;\nlet s = \"crate::h\"; let t = r#\"a \" crate::q\"#; use super::super::k::l;\n\
         #[cfg(test)]\nmod tests { fn x() { crate::i::j(); } }\nfn y() { crate::m::n(); mycrate::o::p() }",
    ));
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(named_after(&code, "crate::"), names(&["a", "c", "f", "m"]));
    assert_eq!(named_after(&code, "super::super::"), names(&["k"]));
    assert!(without_comments("a /* b\n */ c").lines().eq(["a ", " c"]));
}
