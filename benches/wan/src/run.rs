//! One measurement: a link, a server's process, a client's process.

use std::env;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::client::{Counts, Event, Sample};
use crate::conditions::Conditions;
use crate::kernel_memory;
use crate::link::{Accuracy, Link};
use crate::scenario::Scenario;
use crate::tls::Identity;
use crate::way::Way;

pub struct Measured {
    pub scenario: &'static Scenario,
    pub way: Way,
    pub conditions: Conditions,
    pub samples: Vec<Sample>,
    pub stages: Vec<Stage>,
    /// Why there are no more samples than these.
    pub failure: Option<String>,
    /// TCP's buffers of the whole host were full.
    pub short_of_memory: bool,
    pub accuracy: Accuracy,
}

/// A part of a scenario that has several.
#[derive(Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub connections: Counts,
    /// Packets of both directions.
    pub queue_drops: u64,
}

/// What a client has told.
#[derive(Default)]
struct Told {
    samples: Vec<Sample>,
    stages: Vec<Stage>,
}

/// Measures on a link of its own, so that each way meets the same one.
pub fn measure(
    scenario: &'static Scenario,
    way: Way,
    conditions: Conditions,
    rounds: u32,
    stage: u64,
) -> Result<Measured> {
    let link = Link::new(&conditions)?;
    let memory = kernel_memory::Watch::new();
    let identity = Identity::generate()?;
    let cc = ["--cc", conditions.congestion.name()];
    let mut server = link.server.run(|| spawn(&["server"], &cc, &identity))?;
    listening(&mut server)?;
    let rate = conditions.rate / 1_000_000;
    let what = format!(
        "client --scenario {} --way {way} --rounds {rounds} --rate {rate} --stage {stage}",
        scenario.name
    );
    let arguments: Vec<_> = what.split(' ').collect();
    let mut client = link.client.run(|| spawn(&arguments, &cc, &identity))?;
    let mut told = Told::default();
    let failure = follow(&mut client, &link, &mut told).err();
    client.0.kill()?;
    Ok(Measured {
        scenario,
        way,
        samples: told.samples,
        stages: told.stages,
        failure: failure.map(|error| format!("{error:#}")),
        short_of_memory: memory.was_short(),
        accuracy: link.finish()?,
        conditions,
    })
}

impl Told {
    /// `drops` are those of the link until now. A later round's stage adds to the
    /// first one's; of its connections the most count.
    fn end_stage(&mut self, name: String, counts: Counts, drops: u64) {
        let earlier: u64 = self.stages.iter().map(|stage| stage.queue_drops).sum();
        let queue_drops = drops - earlier;
        let mut stages = self.stages.iter_mut();
        let Some(stage) = stages.find(|stage| stage.name == name) else {
            return self.stages.push(Stage {
                name,
                connections: counts,
                queue_drops,
            });
        };
        stage.queue_drops += queue_drops;
        let connections = &mut stage.connections;
        connections.most = connections.most.max(counts.most);
        connections.last = connections.last.max(counts.last);
    }
}

/// A process that doesn't outlive this one: it ends with its standard input,
/// and is killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this program in the calling thread's namespace.
fn spawn(arguments: &[&str], more: &[&str], identity: &Identity) -> Result<Process> {
    let (name, value) = identity.variable()?;
    let child = Command::new(env::current_exe()?)
        .args(arguments)
        .args(more)
        .env(name, value)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(Process(child))
}

/// The other end of that: ends this process when its standard input does.
pub fn end_with_standard_input() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

fn listening(server: &mut Process) -> Result<()> {
    let output = server.0.stdout.take().context("the server's output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    match line.trim() {
        "listening" => Ok(()),
        _ => bail!("the server did not start"),
    }
}

/// Takes what the client tells, until it ends.
fn follow(client: &mut Process, link: &Link, told: &mut Told) -> Result<()> {
    let output = client.0.stdout.take().context("the client's output")?;
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?)? {
            Event::Sample(sample) => told.samples.push(sample),
            Event::Stage(name, counts) => told.end_stage(name, counts, link.queue_drops()),
            Event::Loss(loss) => link.set_loss(loss),
            Event::RoundTrip(time) => link.set_round_trip(time),
        }
    }
    match client.0.wait()? {
        status if status.success() => Ok(()),
        status => bail!("the client: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_of_a_stage_add_up() {
        let mut told = Told::default();
        for (name, most, last, drops) in [("a", 4, 1, 10), ("b", 2, 2, 15), ("a", 3, 3, 35)] {
            told.end_stage(name.into(), Counts { most, last }, drops);
        }
        let row = |stage: &Stage| {
            let Counts { most, last } = stage.connections;
            (stage.name.clone(), most, last, stage.queue_drops)
        };
        let rows: Vec<_> = told.stages.iter().map(row).collect();
        assert_eq!(rows, [("a".into(), 4, 3, 30), ("b".into(), 2, 2, 5)]);
    }
}
