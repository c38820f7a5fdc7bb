//! What packages of the command ship: completions for shells, and pages for `man`.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::failure::Failure;

/// Prints the completions of a shell.
pub fn completions(shell: Shell, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tcpchan", &mut script);
    print(&script)
}

/// Prints the page of the command, or of one of its commands.
pub fn man(of: Option<&str>, mut command: Command) -> Result<(), Failure> {
    command.build();
    let (title, page) = match of {
        None => ("tcpchan".to_owned(), command),
        Some(name) => {
            let page = command.find_subcommand(name).cloned();
            let page =
                page.ok_or_else(|| Failure::new(format!("no command {name}; see --help")))?;
            let title = format!("tcpchan-{name}");
            (title.clone(), page.name(title))
        }
    };
    let mut text = Vec::new();
    let source = concat!("tcpchan ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(page).title(title.to_uppercase()).source(source);
    man.render(&mut text)
        .map_err(|error| Failure::because("man", &error))?;
    print(&text)
}

/// Who has closed stdout wants no more.
fn print(text: &[u8]) -> Result<(), Failure> {
    let _ = io::stdout().write_all(text);
    Ok(())
}
