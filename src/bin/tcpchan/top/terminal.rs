//! The terminal: its size, its keys, and how it was before.

use std::env;
use std::io::{self, Read, Write, stdin, stdout};

use tokio::sync::mpsc;

use super::resize::Resize;
use crate::process::Signals;

/// Columns where nobody says how many there are.
const WIDTH: usize = 100;

/// The whole screen. When it is dropped, the terminal is as it was.
pub struct Terminal {
    pub colours: bool,
    keys: mpsc::Receiver<u8>,
    signals: Signals,
    resize: Resize,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

pub enum Event {
    /// The terminal has another size.
    Resized,
    /// A q, or a signal to end.
    Quit,
}

impl Terminal {
    /// Takes the screen. Keys come without a return, and are not shown.
    pub fn enter() -> io::Result<Self> {
        let (sender, keys) = mpsc::channel(16);
        let terminal = Terminal {
            colours: env::var_os("NO_COLOR").is_none(),
            keys,
            signals: Signals::new()?,
            resize: Resize::new()?,
            #[cfg(unix)]
            before: raw()?,
        };
        // It ends with the process: nothing else ends a read of a terminal.
        std::thread::spawn(move || {
            for key in stdin().lock().bytes().map_while(Result::ok) {
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        write("\x1b[?1049h\x1b[?25l")?; // another screen, without a cursor
        Ok(terminal)
    }

    /// Waits for the next. Cancel safe.
    pub async fn event(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(key) = self.keys.recv() => match key {
                    b'q' | b'Q' => return Event::Quit,
                    _ => {}
                },
                _ = self.signals.next() => return Event::Quit,
                () = self.resize.next() => return Event::Resized,
            }
        }
    }

    /// Shows the lines that fit.
    pub fn draw(&self, lines: &[String]) -> io::Result<()> {
        let height = height().saturating_sub(1).max(1);
        let mut screen = "\x1b[H".to_owned();
        for line in lines.iter().take(height) {
            screen += line;
            screen += "\x1b[K\r\n";
        }
        screen += match lines.len() > height {
            true => "... q quits\x1b[K",
            false => "q quits\x1b[K",
        };
        screen += "\x1b[J";
        write(&screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = write("\x1b[?25h\x1b[?1049l");
        #[cfg(unix)]
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// None if stdin is no terminal, so no keys come from it.
#[cfg(unix)]
fn raw() -> io::Result<Option<rustix::termios::Termios>> {
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, isatty, tcgetattr, tcsetattr,
    };
    if !isatty(stdin()) {
        return Ok(None);
    }
    let before = tcgetattr(stdin())?;
    let mut raw = before.clone();
    raw.local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    // To be stopped on the other screen would leave it there.
    raw.special_codes[SpecialCodeIndex::VSUSP] = 0;
    tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
    Ok(Some(before))
}

#[cfg(unix)]
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

#[cfg(not(unix))]
fn size() -> Option<(usize, usize)> {
    None
}

/// Columns of the terminal.
pub fn width() -> usize {
    let said = || env::var("COLUMNS").ok()?.parse().ok();
    size()
        .map(|(width, _)| width)
        .or_else(said)
        .unwrap_or(WIDTH)
}

fn height() -> usize {
    size().map_or(24, |(_, height)| height)
}
