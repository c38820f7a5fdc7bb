//! `tcpchan top`: a live view of a process, over its admin address.

mod cells;
mod fetch;
mod resize;
mod table;
mod terminal;

use std::io::{self, IsTerminal};

use tokio::time::{MissedTickBehavior, interval, sleep};

use self::fetch::fetch;
use self::table::View;
use self::terminal::{Event, Terminal, width};
use crate::admin::document::Document;
use crate::args;
use crate::failure::Failure;
use crate::stats::print;

pub async fn run(args: args::Top) -> Result<(), Failure> {
    match args.once || !io::stdout().is_terminal() {
        true => once(args).await,
        false => live(args).await,
    }
}

/// Looks twice, since rates are between two looks.
async fn once(args: args::Top) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("{}: {error}", args.admin));
    let first = fetch(&args.admin).await.map_err(failed)?;
    sleep(args.interval).await;
    let now = fetch(&args.admin).await.map_err(failed)?;
    let view = View::new(&now, Some(&first), width(), false);
    print(&view.lines(&args.admin).join("\n"));
    Ok(())
}

async fn live(args: args::Top) -> Result<(), Failure> {
    let failed = |error| Failure::because("the terminal", &error);
    let mut terminal = Terminal::enter().map_err(failed)?;
    let mut looks = interval(args.interval);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<Document> = None;
    let mut before: Option<Document> = None;
    let mut trouble = None;
    loop {
        tokio::select! {
            _ = looks.tick() => match fetch(&args.admin).await {
                Ok(now) => {
                    before = seen.replace(now);
                    trouble = None;
                }
                Err(error) => trouble = Some(error),
            },
            event = terminal.event() => if let Event::Quit = event {
                return Ok(());
            },
        }
        let mut lines = Vec::new();
        lines.extend(trouble.as_ref().map(|error| format!("no answer: {error}")));
        if let Some(now) = &seen {
            let view = View::new(now, before.as_ref(), width(), terminal.colours);
            lines.extend(view.lines(&args.admin));
        }
        terminal.draw(&lines).map_err(failed)?;
    }
}
