//! What is on the screen: the view, its order and filter, the row that is chosen, and what the keys do.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;

use super::poll::{Answer, Seen, Wanted};
use super::rows::{self, Row, View};

/// Looks that a trend remembers.
const REMEMBERED: usize = 60;
/// From nothing to the most.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How much passed at the last looks, by kind and name of the thing.
#[derive(Default)]
pub(super) struct Trends(HashMap<(&'static str, String), VecDeque<f64>>);

impl Trends {
    fn add(&mut self, kind: &'static str, name: &str, value: f64) {
        let trend = self.0.entry((kind, name.to_owned())).or_default();
        if trend.len() == REMEMBERED {
            trend.pop_front();
        }
        trend.push_back(value);
    }

    /// The last looks as a line of blocks, the newest last; the largest of them is a full one.
    pub(super) fn line(&self, kind: &'static str, name: &str, width: usize) -> String {
        let Some(trend) = self.0.get(&(kind, name.to_owned())) else { return String::new() };
        let shown = trend.iter().skip(trend.len().saturating_sub(width));
        let most = shown.clone().copied().fold(0.0, f64::max);
        let block = |&value: &f64| {
            // The place of the last bound that it reaches.
            let reached = (1..BLOCKS.len()).filter(|&n| {
                let bound = f64::from(u32::try_from(n).unwrap_or(0)) / 8.0;
                most > 0.0 && value >= most * bound
            });
            BLOCKS[reached.count()]
        };
        shown.map(block).collect()
    }

    fn follow(&mut self, seen: &Seen, before: Option<&Seen>) {
        let kinds = [("port", &seen.port_rates), ("vif", &seen.vif_rates)];
        for (kind, rates) in kinds {
            for row in rates {
                let passed = row.windows.first().map_or(0.0, |window| window.bits_per_s());
                self.add(kind, &row.name, passed);
            }
        }
        for (at, worker) in seen.workers.iter().enumerate() {
            let before = before.and_then(|before| before.workers.get(at));
            let grown = before.and_then(|before| worker.frames.checked_sub(before.frames));
            self.add("worker", &worker.worker.to_string(), rows::real(grown.unwrap_or(0)));
        }
        let vifs: HashSet<&str> = seen.vifs.iter().map(|vif| &*vif.name).collect();
        self.0.retain(|(kind, name), _| *kind != "vif" || vifs.contains(&**name));
    }
}

/// The screen.
pub(super) struct Screen {
    pub view: View,
    /// Column and direction of each view.
    orders: [(usize, bool); View::ALL.len()],
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    pub help: bool,
    /// The port or VIF that is looked at alone.
    pub detail: Option<(View, String)>,
    /// The first cells of the row that the user chose; the first row where that is not there.
    chosen: Option<String>,
    pub table: TableState,
    pub seen: Option<Seen>,
    before: Option<Seen>,
    pub trends: Trends,
    /// Why nothing new is seen.
    pub trouble: Option<String>,
}

/// By what a row is known again when the order changes.
fn identity(row: &Row) -> String {
    row.cells.iter().take(2).map(|cell| format!("{}\n", cell.text)).collect()
}

impl Screen {
    pub(super) fn new() -> Screen {
        Screen {
            view: View::Vifs,
            orders: View::ALL.map(|view| (view.sorted_by(), false)),
            filter: String::new(),
            typing: false,
            help: false,
            detail: None,
            chosen: None,
            table: TableState::default(),
            seen: None,
            before: None,
            trends: Trends::default(),
            trouble: None,
        }
    }

    /// What it needs of the station.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            drops: self.view == View::Drops || self.detail.is_some(),
            tunnels: self.view == View::Tunnels,
        }
    }

    /// Takes in what the station answered.
    pub(super) fn take(&mut self, answer: Answer) {
        match answer {
            Ok(seen) => {
                // A station that has started anew counts anew.
                let same = |old: &Seen| old.version.uptime_s <= seen.version.uptime_s;
                self.before = self.seen.take().filter(same);
                self.trends.follow(&seen, self.before.as_ref());
                (self.seen, self.trouble) = (Some(seen), None);
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// The order of the view.
    pub(super) fn order(&self) -> (usize, bool) {
        self.orders[self.view as usize]
    }

    fn order_mut(&mut self) -> &mut (usize, bool) {
        &mut self.orders[self.view as usize]
    }

    /// The rows of a view as they are shown, and the one that is chosen.
    pub(super) fn rows(&mut self) -> Vec<Row> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let mut rows = rows::rows(self.view, seen, self.before.as_ref(), &self.trends);
        let filter = self.filter.to_lowercase();
        let has = |row: &Row| {
            let cells = row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&filter));
            cells || row.note.to_lowercase().contains(&filter)
        };
        rows.retain(has);
        let (column, reverse) = self.order();
        rows::sort(&mut rows, column, reverse);
        let at = self.chosen.as_ref();
        let at = at.and_then(|chosen| rows.iter().position(|row| identity(row) == *chosen));
        let at = at.or((!rows.is_empty()).then_some(0));
        self.table.select(at);
        rows
    }

    /// Does what a key says; breaks where the user has seen enough.
    pub(super) fn key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return ControlFlow::Break(());
        }
        if self.typing {
            self.type_filter(key.code);
            return ControlFlow::Continue(());
        }
        if std::mem::take(&mut self.help) {
            return ControlFlow::Continue(());
        }
        match key.code {
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Esc | KeyCode::Backspace if self.detail.is_some() => self.detail = None,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='6') => {
                let index = digit.to_digit(10).map_or(0, |n| n as usize - 1);
                self.show(View::ALL[index]);
            }
            // A thing that is looked at alone has no rows.
            _ if self.detail.is_some() => {}
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s') => {
                let columns = self.view.columns().len();
                let order = self.order_mut();
                *order = ((order.0 + 1) % columns, false);
            }
            KeyCode::Char('r') => self.order_mut().1 ^= true,
            KeyCode::Enter => self.enter(),
            KeyCode::Up | KeyCode::Char('k') => self.go(|at, _| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.go(|at, _| at + 1),
            KeyCode::PageUp => self.go(|at, _| at.saturating_sub(10)),
            KeyCode::PageDown => self.go(|at, _| at + 10),
            KeyCode::Home => self.go(|_, _| 0),
            KeyCode::End => self.go(|_, last| last),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.len() < 40 => self.filter.push(letter),
            _ => {}
        }
    }

    fn turn(&mut self, by: usize) {
        self.show(View::ALL[(self.view as usize + by) % View::ALL.len()]);
    }

    fn show(&mut self, view: View) {
        (self.view, self.detail, self.chosen) = (view, None, None);
    }

    fn enter(&mut self) {
        let rows = self.rows();
        let chosen = self.table.selected().and_then(|at| rows.get(at));
        self.detail = chosen.and_then(|row| row.leads_to.clone());
    }

    /// Chooses another row.
    fn go(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else { return };
        let at = to(self.table.selected().unwrap_or(0), last).min(last);
        self.chosen = Some(identity(&rows[at]));
    }
}
