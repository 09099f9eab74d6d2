//! `stationctl top`: ports, VIFs, drops, workers, sessions and tunnels on a terminal, as they change.

mod draw;
mod poll;
mod rows;
mod screen;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args as ClapArgs;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::Failure;
use super::args::Args;
use poll::Poller;
use screen::Screen;

/// How often signals and answers are looked for beside the keyboard.
const LOOK: Duration = Duration::from_millis(100);

/// Ports, VIFs, drops, workers, BGP and tunnels on the terminal, as they change
///
/// With trends, sorted and filtered as the keys say. 80 columns and 24 lines are enough; narrower terminals
/// lose the last columns. Red rows are down, or something is wrong with them; the line below the table says
/// what. Ctrl-C, `q` and a signal give the terminal back.
///
/// Keys: 1 to 6, Tab and arrows choose the view: ports (bits as on the wire), VIFs (without FCS), drops,
/// workers (with each one's share of all frames: the skew of the NIC's queues), BGP, tunnels. `s` sorts by
/// the next column, `r` turns the order around. `/` shows only rows that contain a text, Esc shows all
/// again. Enter shows the VIF or port of the row alone: rates over 1, 10 and 60 seconds, its trend, drops
/// with what to do, sessions, a port's VIFs.
#[derive(ClapArgs, Debug)]
pub(super) struct TopArgs {
    /// Seconds between two looks at the station
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    delay: u64,
}

impl TopArgs {
    /// Shows it until the user has seen enough.
    pub(super) fn run(&self, args: &Args) -> Result<(), Failure> {
        if args.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let message =
                "top wants a terminal; `stationctl show vifs --rate` prints what it shows, once";
            return Err(Failure::Usage(message.to_owned()));
        }
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal_hook::flag::register(signal, ended.clone())?;
        }
        // It also has a panic give the terminal back.
        let mut terminal = ratatui::try_init()?;
        let shown = show(&mut terminal, &args.socket, Duration::from_secs(self.delay), &ended);
        ratatui::restore();
        Ok(shown?)
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    socket: &Path,
    delay: Duration,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut screen = Screen::new();
    let poller = Poller::start(socket.to_owned(), delay, screen.wanted())?;
    let mut changed = true;
    while !ended.load(Ordering::Relaxed) {
        while let Ok(answer) = poller.answers.try_recv() {
            screen.take(answer);
            changed = true;
        }
        if std::mem::take(&mut changed) {
            terminal.draw(|frame| draw::draw(frame, &mut screen))?;
        }
        if hung_up()? {
            return Ok(());
        }
        if !event::poll(Duration::ZERO)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if screen.key(key).is_break() {
                    return Ok(());
                }
                poller.want(screen.wanted());
            }
            Event::Resize(..) => {}
            _ => continue,
        }
        changed = true;
    }
    Ok(())
}

/// Waits for the keyboard, and says whether the terminal is gone. crossterm never returns from the end of one: it
/// reads on.
fn hung_up() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut keyboard = [PollFd::new(&stdin, PollFlags::IN)];
    let limit = Timespec::try_from(LOOK).map_err(io::Error::other)?;
    match rustix::event::poll(&mut keyboard, Some(&limit)) {
        Ok(_) => Ok(keyboard[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
