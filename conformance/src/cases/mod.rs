//! The cases, in the order of SPEC.md.

mod channels;
mod connection;
mod credit;
mod debts;
mod frames;
mod hello;
mod settings;
mod version0;

use std::fmt;

use crate::frame::{Broken, Frame};
use crate::peer::{Outcome, Peer, Role};

type Run = Box<dyn Fn(&mut Peer) -> Outcome + Send + Sync>;

/// A rule, tried.
pub struct Case {
    /// The heading under which it stands.
    pub group: &'static str,
    /// The rule's number in SPEC.md.
    pub rule: &'static str,
    /// What must be so.
    pub name: String,
    /// What it can test; both if there is none.
    pub only: Option<Role>,
    /// The rule is a SHOULD.
    pub should: bool,
    /// Whether it needs an endpoint of both versions, or one of version 1 alone.
    pub both_versions: Option<bool>,
    /// Tries it.
    pub run: Run,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rule, self.name)
    }
}

impl Case {
    /// Whether it can test this side, which speaks version 1 alone or both versions.
    pub fn fits(&self, role: Role, both_versions: bool) -> bool {
        let version = self.both_versions.is_none_or(|both| both == both_versions);
        version && self.only.is_none_or(|only| only == role)
    }

    /// Whether its rule or its name is one of these, or begins with one.
    pub fn is_chosen(&self, only: &[String]) -> bool {
        let rule = |of: &str| {
            let rest = self.rule.strip_prefix(of);
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        only.is_empty()
            || only
                .iter()
                .any(|of| rule(of) || self.name.starts_with(of.as_str()))
    }
}

/// Cases of one group, as they are told.
struct List {
    group: &'static str,
    cases: Vec<Case>,
}

impl List {
    fn add<F>(&mut self, only: Option<Role>, rule: &'static str, name: impl Into<String>, run: F)
    where
        F: Fn(&mut Peer) -> Outcome + Send + Sync + 'static,
    {
        let (group, name, run) = (self.group, name.into(), Box::new(run));
        let should = false;
        self.cases.push(Case {
            group,
            rule,
            name,
            only,
            should,
            both_versions: None,
            run,
        });
    }

    fn both<F>(&mut self, rule: &'static str, name: impl Into<String>, run: F)
    where
        F: Fn(&mut Peer) -> Outcome + Send + Sync + 'static,
    {
        self.add(None, rule, name, run);
    }

    fn server<F>(&mut self, rule: &'static str, name: impl Into<String>, run: F)
    where
        F: Fn(&mut Peer) -> Outcome + Send + Sync + 'static,
    {
        self.add(Some(Role::Server), rule, name, run);
    }

    fn client<F>(&mut self, rule: &'static str, name: impl Into<String>, run: F)
    where
        F: Fn(&mut Peer) -> Outcome + Send + Sync + 'static,
    {
        self.add(Some(Role::Client), rule, name, run);
    }

    /// The last one's rule is a SHOULD.
    fn should(&mut self) {
        if let Some(last) = self.cases.last_mut() {
            last.should = true;
        }
    }

    /// The last one is for endpoints of both versions, or for those of version 1 alone.
    fn versions(&mut self, both: bool) {
        if let Some(last) = self.cases.last_mut() {
            last.both_versions = Some(both);
        }
    }

    /// These bytes behind both settings end the connection with this code.
    fn violation(
        &mut self,
        rule: &'static str,
        name: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        code: u32,
    ) {
        let bytes = bytes.into();
        self.both(rule, name, move |peer| {
            peer.greet()?;
            peer.bytes(&bytes);
            peer.ends(code)
        });
    }

    /// These bytes behind both settings change nothing.
    fn harmless(&mut self, rule: &'static str, name: impl Into<String>, bytes: Vec<u8>) {
        self.both(rule, name, move |peer| {
            peer.greet()?;
            peer.bytes(&bytes);
            peer.alive()?;
            peer.echo().map(drop)
        });
    }
}

/// The bytes of several frames.
fn encoded(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::encode).collect()
}

type Add = fn(&mut List);

/// All cases.
pub fn all() -> Vec<Case> {
    let groups: [(&'static str, Add); 13] = [
        ("W1, W4 to W7: frames", frames::add),
        ("W2: hello", hello::add),
        ("W3: settings", settings::add),
        ("W8, W20: versions", hello::add_versions),
        ("W8, W19: version 0", version0::add),
        ("W9: ping and drain", connection::add_ping),
        ("W10: what may be sent", credit::add_sending),
        ("W11: WINDOW", credit::add_windows),
        ("W12: debts of what has ended", debts::add),
        ("W13, W16: numbers and counts", channels::add_numbers),
        ("W14: ends", channels::add_ends),
        ("W15: refusal", channels::add_refusals),
        ("W17, W18: the end, and limits", connection::add_end),
    ];
    let mut cases = Vec::new();
    for (group, add) in groups {
        let mut list = List {
            group,
            cases: Vec::new(),
        };
        add(&mut list);
        cases.append(&mut list.cases);
    }
    cases
}

/// A failure without a rule of its own.
fn fail<T>(peer: &Peer, text: impl Into<String>) -> Result<T, Broken> {
    Err(peer.fail(text))
}
