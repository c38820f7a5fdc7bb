//! Why the command ends without success: a line for people, a code for scripts.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// What the exit codes mean; part of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  ended by SIGTERM or SIGINT with nothing cut off; ping: every round was answered
  1  could not start (the line on stderr says why); ping: a round was not answered;
     top: nothing answered
  2  wrong arguments, or a wrong configuration
  3  ended by SIGTERM or SIGINT, and what was still carried was cut off";

#[derive(Debug)]
pub struct Failure {
    code: u8,
    lines: Vec<String>,
}

impl Failure {
    /// The command could not do what it was asked for.
    pub fn new(text: impl Into<String>) -> Self {
        Failure::lines(1, vec![text.into()])
    }

    /// The same, with the error behind it.
    pub fn because(what: impl fmt::Display, error: &dyn Error) -> Self {
        Failure::new(format!("{what}: {}", in_a_line(error)))
    }

    /// The configuration says what can't be.
    pub fn wrong(lines: Vec<String>) -> Self {
        Failure::lines(2, lines)
    }

    /// The end came before the end of what was carried.
    pub fn cut_off(text: impl Into<String>) -> Self {
        Failure::lines(3, vec![text.into()])
    }

    pub fn lines(code: u8, lines: Vec<String>) -> Self {
        Failure { code, lines }
    }

    pub fn exit_code(&self) -> ExitCode {
        self.code.into()
    }

    /// What to tell, each in a line.
    pub fn text(&self) -> &[String] {
        &self.lines
    }
}

/// What is wrong with an option, which an argument or a key of a file has set.
#[derive(Debug)]
pub struct Problem {
    pub option: &'static str,
    text: String,
}

impl Problem {
    pub fn new(option: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Problem { option, text }
    }

    pub fn because(option: &'static str, error: &dyn Error) -> Self {
        Problem::new(option, in_a_line(error))
    }

    /// The same, with more of where it is.
    pub fn of(self, what: impl fmt::Display) -> Self {
        let text = format!("{what}: {}", self.text);
        Problem { text, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Problem> for Failure {
    /// Of an argument.
    fn from(problem: Problem) -> Self {
        Failure::new(format!("--{}: {problem}", problem.option))
    }
}

/// An error with its sources. A source that its error has told already is not
/// told again.
pub fn in_a_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    line.replace('\n', " ")
}
