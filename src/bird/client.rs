//! BIRD's control socket: a command a line, and an answer of lines that begin with a code.
//!
//! ```text
//! 1007-Table r4.a:              a line with its code; more follow
//!  10.1.0.0/16 unicast ...      a line with the code of the line before
//! 0000                          the last line
//! +b.v0.100...: Down            a message of the log, between answers and within them
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long BIRD may take for a line of an answer. It reconfigures within one.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line, in octets.
const LONGEST: u64 = 1 << 20;

/// A line from BIRD.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Part of an answer.
    Text(u16, String),
    /// The end of an answer.
    End(u16, String),
    /// A message of the log.
    Log(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there, or it does not speak.
    #[error("BIRD does not answer: {0}")]
    Io(#[from] io::Error),
    /// BIRD said no.
    #[error("BIRD: {0}")]
    Refused(String),
}

/// A connection to BIRD.
pub(super) struct Client {
    stream: BufReader<UnixStream>,
    code: u16,
}

impl Client {
    /// Connects, and waits for BIRD's greeting.
    pub(super) fn connect(socket: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Client { stream: BufReader::new(stream), code: 0 };
        while !matches!(client.line()?, Line::End(1, _)) {}
        Ok(client)
    }

    /// From now on waits for lines as long as BIRD lives.
    pub(super) fn wait_for_ever(&self) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(None)
    }

    /// Sends a command.
    pub(super) fn send(&mut self, command: &str) -> io::Result<()> {
        debug_assert!(!command.contains('\n'), "one line, one command");
        self.stream.get_mut().write_all(format!("{command}\n").as_bytes())
    }

    /// The next line, of whatever kind.
    pub(super) fn line(&mut self) -> Result<Line, ClientError> {
        let mut text = Vec::new();
        let read = (&mut self.stream).take(LONGEST).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let text = String::from_utf8_lossy(&text);
        parse(text.trim_end_matches('\n'), &mut self.code).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "not a line of BIRD's").into()
        })
    }

    /// The next line of an answer; `None` after the last. An error of BIRD's is one here.
    pub(super) fn answer(&mut self) -> Result<Option<(u16, String)>, ClientError> {
        loop {
            return match self.line()? {
                Line::Log(_) => continue,
                Line::Text(code, text) | Line::End(code, text) if code >= 8000 => {
                    Err(ClientError::Refused(text))
                }
                Line::Text(code, text) => Ok(Some((code, text))),
                Line::End(..) => Ok(None),
            };
        }
    }

    /// Carries out a command; gives all lines of its answer, the last with it.
    pub(super) fn command(&mut self, command: &str) -> Result<Vec<String>, ClientError> {
        self.send(command)?;
        let mut lines = Vec::new();
        loop {
            match self.line()? {
                Line::Log(_) => {}
                Line::Text(code, text) | Line::End(code, text) if code >= 8000 => {
                    return Err(ClientError::Refused(text));
                }
                Line::Text(_, text) => lines.push(text),
                Line::End(_, text) => {
                    lines.extend((!text.is_empty()).then_some(text));
                    return Ok(lines);
                }
            }
        }
    }
}

/// A line, whose code may be that of the line before.
fn parse(text: &str, code: &mut u16) -> Option<Line> {
    if let Some(message) = text.strip_prefix('+') {
        return Some(Line::Log(message.to_owned()));
    }
    if let Some(more) = text.strip_prefix(' ') {
        return Some(Line::Text(*code, more.to_owned()));
    }
    let (number, rest) = text.split_at_checked(4)?;
    *code = number.parse().ok()?;
    match rest.split_at_checked(1) {
        Some(("-", text)) => Some(Line::Text(*code, text.to_owned())),
        Some((" ", text)) => Some(Line::End(*code, text.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_code_or_the_one_before() {
        let mut code = 0;
        let text = |code, text: &str| Some(Line::Text(code, text.to_owned()));
        assert_eq!(parse("1007-Table a:", &mut code), text(1007, "Table a:"));
        assert_eq!(parse(" 10.0.0.0/8", &mut code), text(1007, "10.0.0.0/8"));
        assert_eq!(parse("+b.v0.1: Down", &mut code), Some(Line::Log("b.v0.1: Down".to_owned())));
        assert_eq!(parse(" \tvia", &mut code), text(1007, "\tvia"));
        assert_eq!(parse("0000 ", &mut code), Some(Line::End(0, String::new())));
        for bad in ["", "12", "abcd-x", "1007", "1007=x", "äöü"] {
            assert_eq!(parse(bad, &mut code), None, "{bad:?}");
        }
    }
}
