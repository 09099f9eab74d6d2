//! What errors may show of a configuration's text. A secret must not reach a terminal or a log because a
//! quotation mark is missing or a key is misspelt, so the rule is the other way round: shown are values of
//! fields that the reference configuration has and that are no secrets, as far as the text is TOML.
//! Everything else is masked.

use std::collections::BTreeSet;
use std::path::Path;

use super::model::Config;

/// Every field there is; see `config::mod`.
const REFERENCE: &str = include_str!("../../scripts/station.toml");
/// Fields whose values nobody may see.
const SECRET: [&str; 1] = ["password"];
/// Whether nobody may see a field's values.
pub(super) fn is_secret(field: &str) -> bool {
    SECRET.contains(&field)
}

/// Comments with one of these words are masked: they may tell of a secret that is or was there.
const SUSPECT: [&str; 6] = ["pass", "pasw", "secret", "key", "md5", "pwd"];

/// What must not be shown of a text: ranges of octets, which do not overlap.
fn secrets(text: &str) -> Vec<(usize, usize)> {
    let mut scan = Scan { text, at: 0, hidden: Vec::new(), shown: shown() };
    let start_of_the_unreadable = scan.document().err();
    scan.hidden.extend(start_of_the_unreadable.map(|at| (at, text.len())));
    scan.hidden
}

/// The text with eight stars in each line for all that must not be shown of it, however long that is. Line
/// breaks stay.
pub fn hide(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut shown = 0;
    for (from, to) in secrets(text) {
        // What lies within a range that is hidden already.
        let from = from.max(shown);
        hidden.push_str(&text[shown..from]);
        let lines = text[from..to.max(from)].split('\n');
        let stars = |line: &str| if line.is_empty() { "" } else { "********" };
        hidden.push_str(&lines.map(stars).collect::<Vec<_>>().join("\n"));
        shown = to.max(from);
    }
    hidden.push_str(&text[shown..]);
    hidden
}

/// The text with stars for all that errors must not show; line breaks and places stay.
pub(super) fn mask(text: &str) -> String {
    let mut masked = text.to_owned();
    for (from, to) in secrets(text) {
        // A star for each octet, so that places stay.
        let stars: String =
            text[from..to].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
        masked.replace_range(from..to, &stars);
    }
    masked
}

/// Why others may read or change the file, and what to do; `None` where they may not, or it has no
/// secrets.
pub fn exposure(file: &Path, config: &Config) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    let secrets = config.vifs.iter().flat_map(|vif| &vif.bgp).any(|bgp| bgp.password.is_some());
    let shown = file.display();
    if mode & 0o022 != 0 {
        return Some(format!(
            "others may change {shown}, which says what runs as root (mode {:o}): `chmod go-w {shown}`",
            mode & 0o7777
        ));
    }
    (secrets && mode & 0o004 != 0).then(|| {
        format!(
            "everybody on this server can read the passwords in {shown} (mode {:o}): `chmod o-rwx {shown}`",
            mode & 0o7777
        )
    })
}

/// The fields of the reference whose values errors may show.
fn shown() -> BTreeSet<&'static str> {
    let mut fields = BTreeSet::new();
    for line in REFERENCE.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_start_matches('[').split(']').next().unwrap_or_default();
            fields.extend(name.split('.'));
        }
        for (before, _) in line.match_indices('=').map(|(at, _)| line.split_at(at)) {
            let word = before.trim_end();
            let start = word.rfind(|c: char| !is_bare(c)).map_or(0, |at| at + 1);
            fields.insert(&word[start..]);
        }
    }
    fields.retain(|field| !SECRET.contains(field));
    fields
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Reads as much of TOML (toml.io, v1.0.0) as it takes to tell keys from values.
struct Scan<'t> {
    text: &'t str,
    at: usize,
    hidden: Vec<(usize, usize)>,
    shown: BTreeSet<&'static str>,
}

/// Where the text cannot be read any further.
type Unreadable = usize;

impl Scan<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn eat(&mut self, piece: &str) -> bool {
        let there = self.rest().starts_with(piece);
        self.at += if there { piece.len() } else { 0 };
        there
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn blanks(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t'));
    }

    /// Blanks, line breaks and comments.
    fn space(&mut self) {
        loop {
            self.skip(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
            if !self.comment() {
                return;
            }
        }
    }

    fn comment(&mut self) -> bool {
        let from = self.at;
        if !self.eat("#") {
            return false;
        }
        self.skip(|c| c != '\n');
        let text = self.text[from..self.at].to_ascii_lowercase();
        if SUSPECT.iter().any(|word| text.contains(word)) {
            self.hidden.push((from + 1, self.at));
        }
        true
    }

    fn document(&mut self) -> Result<(), Unreadable> {
        // Whether values may be shown where the last header leads.
        let mut within = true;
        loop {
            self.space();
            if self.rest().is_empty() {
                return Ok(());
            }
            if self.eat("[") {
                self.eat("[");
                within = self.key(true)?;
                if !self.eat("]") {
                    return Err(self.at);
                }
                self.eat("]");
            } else {
                self.pair(within)?;
            }
            self.blanks();
            self.comment();
            if !self.rest().is_empty() && !self.rest().starts_with(['\n', '\r']) {
                return Err(self.at);
            }
        }
    }

    fn pair(&mut self, within: bool) -> Result<(), Unreadable> {
        let shown = self.key(within)?;
        if !self.eat("=") {
            return Err(self.at);
        }
        self.blanks();
        self.value(shown)
    }

    /// A key, also one of several parts. What follows a part that is not shown is masked. Whether its value
    /// may be shown.
    fn key(&mut self, within: bool) -> Result<bool, Unreadable> {
        let mut shown = within;
        loop {
            self.blanks();
            let from = self.at;
            let quoted = self.rest().starts_with(['"', '\'']);
            if quoted {
                self.string()?;
            } else {
                self.skip(is_bare);
            }
            if self.at == from {
                return Err(from);
            }
            let part = self.text[from..self.at].trim_matches(['"', '\'']);
            // A value may have come to stand where a key should be: what is quoted must be known.
            let known = self.shown.contains(part) || (!quoted && SECRET.contains(&part));
            if !shown || (quoted && !known) {
                self.hidden.push((from, self.at));
            }
            shown &= self.shown.contains(part);
            self.blanks();
            if !self.eat(".") {
                return Ok(shown);
            }
        }
    }

    fn value(&mut self, shown: bool) -> Result<(), Unreadable> {
        let from = self.at;
        let read = match self.rest().chars().next() {
            Some('"' | '\'') => self.string(),
            Some('[') => self.list("[", "]", |scan| scan.value(shown)),
            Some('{') => self.list("{", "}", |scan| scan.pair(shown)),
            _ => {
                self.skip(|c| is_bare(c) || matches!(c, '.' | '+' | ':'));
                if self.at == from { Err(from) } else { Ok(()) }
            }
        };
        if !shown {
            self.hidden.push((from, self.at));
        }
        read.map_err(|at| if shown { at } else { from })
    }

    fn list(
        &mut self,
        open: &str,
        close: &str,
        item: impl Fn(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.eat(open);
        loop {
            self.space();
            if self.eat(close) {
                return Ok(());
            }
            item(self)?;
            self.space();
            if !self.eat(",") && !self.rest().starts_with(close) {
                return Err(self.at);
            }
        }
    }

    /// A string of any of the four kinds. Where it has no end, its beginning is what cannot be read.
    fn string(&mut self) -> Result<(), Unreadable> {
        let from = self.at;
        let escapes = self.rest().starts_with('"');
        let mark = if escapes { "\"" } else { "'" };
        let long = mark.repeat(3);
        let (mark, lines) = if self.eat(&long) {
            (long.as_str(), true)
        } else {
            self.eat(mark);
            (mark, false)
        };
        loop {
            if self.eat(mark) {
                // Up to two more may stand before the end of a long one.
                if lines {
                    self.skip(|c| mark.starts_with(c));
                }
                return Ok(());
            }
            let Some(c) = self.rest().chars().next().filter(|&c| lines || c != '\n') else {
                return Err(from);
            };
            self.at += c.len_utf8();
            if escapes && c == '\\' {
                self.at += self.rest().chars().next().map_or(0, char::len_utf8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET_TEXT: &str = "S3CR3T";

    #[test]
    fn the_reference_is_shown_but_for_its_secret() {
        let masked = mask(REFERENCE);
        assert!(!masked.contains("kept-secret"));
        for (line, text) in masked.lines().zip(REFERENCE.lines()) {
            let code = text.split('#').next().unwrap_or_default();
            if !code.contains("password") {
                assert!(line.starts_with(code), "{line}\n{text}");
            }
        }
        assert!(shown().contains("addresses") && shown().contains("vif"));
        assert!(!shown().contains("password") && !shown().contains(""));
    }

    #[test]
    fn what_is_hidden_does_not_tell_its_length() {
        let text = "[[vif.bgp]]\npassword = \"S3CR3T\"  # since May\nlocal_as = 1 # key S3CR3T\n";
        let hidden = "[[vif.bgp]]\npassword = ********  # since May\nlocal_as = 1 #********\n";
        assert_eq!(hide(text), hidden);
        let long = "password = \"\"\"\nS3CR3T\nS3CR3T\"\"\"\nlocal_as = 1\n";
        assert_eq!(hide(long), "password = ********\n********\n********\nlocal_as = 1\n");
        let hidden = hide(REFERENCE);
        assert!(!hidden.contains("kept-secret"));
        assert_eq!(hidden.lines().count(), REFERENCE.lines().count());
    }

    #[test]
    fn places_stay() {
        let text = "password = \"pä\u{1f600}ss\"\nname = \"ä\"\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked.find('\n'), text.find('\n'));
        assert!(masked.ends_with("name = \"ä\"\n"));
    }

    #[test]
    fn no_malformed_secret_is_shown() {
        let forms = [
            "password = \"S3CR3T",
            "password = 'S3CR3T",
            "password = \"\"\"\nS3CR3T\n",
            "password = '''a\nS3CR3T",
            "password = \"\"\"\na\nhold_s = 9\npeer = \"S3CR3T\"",
            "password = S3CR3T",
            "password = [\"a\", \"S3CR3T\"]",
            "password = [\n  \"S3CR3T\",\n]",
            "password = { is = \"S3CR3T\" }",
            "password = { peer = \"S3CR3T\" }",
            "password = \"a\" \"S3CR3T\"",
            "password = \"a\"S3CR3T",
            "password \"S3CR3T\"",
            "password: \"S3CR3T\"",
            "password == \"S3CR3T\"",
            "password =\n\"S3CR3T\"",
            "password.peer = \"S3CR3T\"",
            "password.S3CR3T = 1",
            "peer.password = \"S3CR3T\"",
            "\"password\" = \"S3CR3T\"",
            "'S3CR3T' = 'password'",
            "pasword = \"S3CR3T\"",
            "Password = \"S3CR3T\"",
            "key = \"S3CR3T\"",
            "secret = 'S3CR3T'",
            "bgp = [{ password = \"S3CR3T\" }]",
            "bgp = [{ peer = \"x\" password = \"S3CR3T\" }]",
            "bgp = [{ peer = \"x\", password = \"S3CR3T }]",
            "bgp = [{ peer = \"x\", passwd = \"S3CR3T\" ",
            "[vif.bgp.password]\npeer = \"S3CR3T\"",
            "[vif.bgp.password.S3CR3T]",
            "[[vif.password\npeer = \"S3CR3T\"",
            "peer = \"x\" # password S3CR3T",
            "# the old Secret was S3CR3T\npeer = 1",
            "password = 1\npassword = \"S3CR3T\"",
            "peer = \"a\\",
            "hold_s = 9 S3CR3T",
        ];
        for form in forms {
            for text in
                [form.to_owned(), format!("[[vif.bgp]]\nlocal_as = 1\n{form}\nname = \"b\"\n")]
            {
                let masked = mask(&text);
                assert!(!masked.contains(SECRET_TEXT), "{text}\n---\n{masked}");
                let hidden = hide(&text);
                assert!(!hidden.contains(SECRET_TEXT), "{text}\n---\n{hidden}");
                assert_eq!(hidden.lines().count(), text.lines().count());
                assert_eq!(masked.len(), text.len());
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_shown_up_to_where_the_text_is_broken() {
        let masked = mask("name = \"a\"\nrole = core\"\npeer = \"x\"\n");
        assert!(masked.starts_with("name = \"a\"\nrole = core*\n****"), "{masked}");
        let fine = "a.b = 1\n";
        assert_eq!(mask(fine), "a.* = *\n");
        let shown = "vlan = [ 1, # one\n 0x2, -3.5e6, 1979-05-27T07:32:00Z, true ]\nvia = [{ address = 'x' }]\n";
        assert_eq!(mask(shown), shown);
    }
}
