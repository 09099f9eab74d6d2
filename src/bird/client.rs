//! BIRD's control socket: a command a line, and an answer of lines that begin with a code.
//!
//! ```text
//! 1007-Table r4.a:              a line with its code; more follow
//!  10.1.0.0/16 unicast ...      a line with the code of the line before
//! 0000                          the last line
//! +b.v0.100...: Down            a message of the log, between answers and within them
//! <12 messages lost>            so many messages of the log did not fit, likewise
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::parse;

/// How long BIRD may take for a line of an answer where nobody waits. It reconfigures within one.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
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
    /// Messages of the log were lost: BIRD had no room for them.
    Gap,
    /// Nothing that is known.
    Other,
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
    /// Others wait for it already.
    #[error("BIRD is answering other questions: ask again")]
    Busy,
}

impl ClientError {
    /// BIRD is there, but says nothing.
    pub(super) fn is_silence(&self) -> bool {
        let silent = |kind| matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        matches!(self, ClientError::Io(error) if silent(error.kind()))
    }
}

/// A connection to BIRD.
pub(super) struct Client {
    stream: BufReader<UnixStream>,
    code: u16,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Client {
    /// Connects, and waits for BIRD's greeting. `patience`: how long it may take for each line.
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(patience))?;
        let mut client = Client { stream: BufReader::new(stream), code: 0, partial: Vec::new() };
        client.wait_for(patience)?;
        while !matches!(client.line()?, Line::End(1, _)) {}
        Ok(client)
    }

    /// From now on waits so long for a line.
    pub(super) fn wait_for(&self, patience: Duration) -> io::Result<()> {
        // None would be for ever.
        let patience = patience.max(Duration::from_millis(1));
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// Sends a command.
    pub(super) fn send(&mut self, command: &str) -> io::Result<()> {
        debug_assert!(!command.contains('\n'), "one line, one command");
        self.stream.get_mut().write_all(format!("{command}\n").as_bytes())
    }

    /// The next line, of whatever kind. Where it does not come in time, the next call goes on waiting.
    pub(super) fn line(&mut self) -> Result<Line, ClientError> {
        let read = (&mut self.stream).take(LONGEST).read_until(b'\n', &mut self.partial)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let line =
            parse(String::from_utf8_lossy(&self.partial).trim_end_matches('\n'), &mut self.code);
        self.partial.clear();
        Ok(line)
    }

    /// The next line of an answer; `None` after the last. An error of BIRD's is one here.
    pub(super) fn answer(&mut self) -> Result<Option<(u16, String)>, ClientError> {
        loop {
            return match self.line()? {
                Line::Log(_) | Line::Gap | Line::Other => continue,
                Line::Text(code, text) | Line::End(code, text) if code >= 8000 => {
                    Err(ClientError::Refused(text))
                }
                Line::Text(code, text) => Ok(Some((code, text))),
                Line::End(..) => Ok(None),
            };
        }
    }

    /// All lines of an answer but the last, with their codes.
    pub(super) fn ask(&mut self, question: &str) -> Result<Vec<(u16, String)>, ClientError> {
        self.send(question)?;
        let mut lines = Vec::new();
        while let Some(line) = self.answer()? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Carries out a command; gives all lines of its answer, the last with it.
    pub(super) fn command(&mut self, command: &str) -> Result<Vec<String>, ClientError> {
        self.hear(command, |_| {})
    }

    /// Carries out a command likewise, and passes on what does not belong to its answer.
    pub(super) fn hear(
        &mut self,
        command: &str,
        mut other: impl FnMut(Line),
    ) -> Result<Vec<String>, ClientError> {
        self.send(command)?;
        let mut lines = Vec::new();
        loop {
            match self.line()? {
                line @ (Line::Log(_) | Line::Gap | Line::Other) => other(line),
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

    /// Carries out commands. One about what is gone by now is an error that means nothing.
    pub(super) fn commands(
        &mut self,
        commands: impl Iterator<Item = String>,
    ) -> Result<(), ClientError> {
        for command in commands {
            match self.command(&command) {
                Ok(_) | Err(ClientError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a limit has shut a session.
    pub(super) fn is_shut(&mut self, protocol: &str) -> Result<bool, ClientError> {
        let said = self.ask(&format!("show protocols \"{protocol}\""))?;
        Ok(parse::protocols(said).iter().any(parse::Protocol::is_shut))
    }

    /// Starts sessions anew, also those that are shut.
    pub(super) fn reset(&mut self, protocols: &[String]) -> Result<(), ClientError> {
        for protocol in protocols {
            let said = self.command(&format!("enable '{protocol}'"))?;
            if said.iter().any(|line| line.ends_with("already enabled")) {
                self.command(&format!("restart '{protocol}'"))?;
            }
        }
        Ok(())
    }
}

/// A line, whose code may be that of the line before.
fn parse(text: &str, code: &mut u16) -> Line {
    if let Some(message) = text.strip_prefix('+') {
        return Line::Log(message.to_owned());
    }
    if let Some(more) = text.strip_prefix(' ') {
        return Line::Text(*code, more.to_owned());
    }
    if text.starts_with('<') && text.ends_with(" messages lost>") {
        return Line::Gap;
    }
    let Some((Ok(number), rest)) =
        text.split_at_checked(4).map(|(code, rest)| (code.parse(), rest))
    else {
        return Line::Other;
    };
    let line = match rest.split_at_checked(1) {
        Some(("-", text)) => Line::Text(number, text.to_owned()),
        Some((" ", text)) => Line::End(number, text.to_owned()),
        _ => return Line::Other,
    };
    *code = number;
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_code_or_the_one_before() {
        let mut code = 0;
        let text = |code, text: &str| Line::Text(code, text.to_owned());
        assert_eq!(parse("1007-Table a:", &mut code), text(1007, "Table a:"));
        assert_eq!(parse(" 10.0.0.0/8", &mut code), text(1007, "10.0.0.0/8"));
        assert_eq!(parse("+b.v0.1: Down", &mut code), Line::Log("b.v0.1: Down".to_owned()));
        assert_eq!(parse(" \tvia", &mut code), text(1007, "\tvia"));
        assert_eq!(parse("0000 ", &mut code), Line::End(0, String::new()));
        for bad in ["", "12", "abcd-x", "1007", "1007=x", "äöü", "<"] {
            assert_eq!(parse(bad, &mut code), Line::Other, "{bad:?}");
        }
        assert_eq!(code, 0, "what is not understood changes nothing");
    }

    #[test]
    fn lost_messages_have_no_plus() {
        // BIRD 2.0.12, nest/cli.c.
        assert_eq!(parse("<7136 messages lost>", &mut 1002), Line::Gap);
    }

    #[test]
    fn a_line_that_comes_late_is_whole() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut client = Client { stream: BufReader::new(here), code: 0, partial: Vec::new() };
        client.wait_for(Duration::from_millis(1)).unwrap();
        there.write_all(b"1002-b.v").unwrap();
        assert!(client.line().unwrap_err().is_silence());
        there.write_all(b"0.1 BGP\n").unwrap();
        assert_eq!(client.line().unwrap(), Line::Text(1002, "b.v0.1 BGP".into()));
        drop(there);
        assert!(!client.line().unwrap_err().is_silence());
    }
}
