//! The conversations of `vectors/conversations.json`, replayed with the core on each side
//! that they name. The file tells how.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tcpchan::proto::{
    ChannelError, Config, Connection, ConnectionError, Key, OpenError, Read, Role,
};
use tcpchan::wire::{Control, Decoded, Decoder, Protocol, Version};

use crate::hex::filled;

/// How long an expected frame may take.
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn every_conversation_goes_as_it_is_written() {
    let file: Value = serde_json::from_str(include_str!("../vectors/conversations.json")).unwrap();
    let mut played = 0;
    for conversation in file["conversations"].as_array().unwrap() {
        for side in conversation["test"].as_array().unwrap() {
            Replay::new(conversation, side.as_str().unwrap()).run();
            played += 1;
        }
    }
    assert!(played > 120, "{played} replays");
}

#[test]
fn every_malformed_frame_ends_the_connection_with_its_code() {
    let file: Value = serde_json::from_str(include_str!("../vectors/frames.json")).unwrap();
    let settings = "0105000000000000";
    for vector in file["malformed"].as_array().unwrap() {
        let config = Config::default().protocol(match vector["speaks"].as_str() {
            Some("V0") => Protocol::V0,
            Some("V1") => Protocol::V1,
            _ => Protocol::Auto,
        });
        // A server of version 0 takes more (W8.7).
        let role = match vector["speaks"] == "V0" {
            true => Role::Client,
            false => Role::Server,
        };
        let before = match vector["start"] == true {
            true => "".to_owned(),
            false => format!("0101feedbacc{settings}"),
        };
        let after = crate::hex::unhex(&before)
            .into_iter()
            .chain(crate::hex::unhex(vector["hex"].as_str().unwrap()));
        assert_eq!(
            code_of(role, config, after.collect()),
            vector["code"],
            "{}",
            vector["name"]
        );
    }
    for vector in file["malformed_settings"].as_array().unwrap() {
        let body = vector["hex"].as_str().unwrap();
        let bytes = crate::hex::unhex(&format!(
            "0101feedbacc010500000000{:04x}{body}",
            body.len() / 2
        ));
        assert_eq!(
            code_of(Role::Server, Config::default(), bytes),
            4,
            "{}",
            vector["name"]
        );
    }
}

/// The code of the GOAWAY that is said last, if one is.
fn code_of(role: Role, config: Config, bytes: Vec<u8>) -> Value {
    let now = Instant::now();
    let mut core = Connection::new(role, config, now);
    core.handle_input(&bytes, now);
    assert!(core.error().is_some());
    let mut said = Vec::new();
    while core.poll_transmit(&mut said, 64 << 10, now) > 0 {}
    let (mut decoder, mut input, mut code) = (Decoder::new(Protocol::Auto), &said[..], Value::Null);
    while let Some(decoded) = decoder.decode(&mut input).unwrap() {
        if let Decoded::Control(Control::GoAway { code: found, .. }) = decoded {
            code = found.into();
        }
    }
    code
}

/// The core on one side, and a player of the other.
struct Replay<'a> {
    conversation: &'a Value,
    side: &'a str,
    at: usize,
    core: Connection,
    now: Instant,
    decoder: Decoder,
    said: VecDeque<Value>,
    keys: HashMap<u64, Key>,
    token: Value,
}

impl<'a> Replay<'a> {
    fn new(conversation: &'a Value, side: &'a str) -> Self {
        let settings = &conversation["settings"];
        let setting = |name: &str, least: u64| settings[name].as_u64().unwrap_or(least);
        let config = Config::default()
            .initial_window(setting("window", 65_536) as u32)
            .and_then(|config| config.max_channels(setting("channels", 256) as u32))
            .unwrap()
            .receive_budget(setting("budget", 0))
            .protocol(match conversation["speaks"].as_str() {
                Some("V0") => Protocol::V0,
                Some("Auto") => Protocol::Auto,
                _ => Protocol::V1,
            });
        let role = match side {
            "client" => Role::Client,
            _ => Role::Server,
        };
        let now = Instant::now();
        Replay {
            conversation,
            side,
            at: 0,
            core: Connection::new(role, config, now),
            now,
            decoder: Decoder::new(Protocol::Auto),
            said: VecDeque::new(),
            keys: HashMap::new(),
            token: Value::Null,
        }
    }

    fn fail(&self, what: impl std::fmt::Display) -> ! {
        let (name, error) = (&self.conversation["name"], self.core.error());
        let step = &self.conversation["steps"][self.at];
        let side = self.side;
        panic!(
            "{name}, {side}: {what}, at {step}; said {:?}; {error:?}",
            self.said
        );
    }

    fn run(mut self) {
        let mut ended = false;
        for (at, step) in self.conversation["steps"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            self.at = at;
            let mine = step["from"] == self.side;
            if step["at"] == self.side {
                match step["do"].as_str() {
                    Some(what) => self.does(what, step),
                    None => self.learns(step["event"].as_str().unwrap(), step),
                }
            } else if step["end"] == true && step["from"].is_string() {
                ended = true;
                match mine {
                    true => self.ends(),
                    false => self.core.handle_eof(),
                }
            } else if mine {
                self.hears(step);
            } else if step["from"].is_string() {
                let bytes = self.bytes(step);
                if step["frame"]["op"] == "HELLO_REPLY" && step["version"] == 0 {
                    self.decoder = Decoder::new(Protocol::V0); // W8.5: the client goes on in it
                }
                self.core.handle_input(&bytes, self.now);
            }
            self.pump();
        }
        while let Some(frame) = self.said.pop_front() {
            if !self.passes(&frame) {
                self.fail(format!("another frame behind the last step: {frame}"));
            }
        }
        if !ended && self.core.error().is_some() {
            self.fail("it ended");
        }
    }

    /// What the player says.
    fn bytes(&self, step: &Value) -> Vec<u8> {
        match step["hex"].is_string() {
            true => filled(&step["hex"], &step["fill"]),
            false => {
                // The only frame with a value of the other side is the answer to its PING.
                assert_eq!(step["frame"]["op"], "PONG");
                pong(self.token.as_str().unwrap().parse().unwrap())
            }
        }
    }

    /// Takes what the core says.
    fn pump(&mut self) {
        let mut bytes = Vec::new();
        while self.core.poll_transmit(&mut bytes, 64 << 10, self.now) > 0 {}
        let mut input = &bytes[..];
        while let Some(decoded) = self.decoder.decode(&mut input).unwrap() {
            let version = self.decoder.version().unwrap();
            let mut frame = match decoded {
                Decoded::Control(control) => frame(control),
                Decoded::Data { channel, .. } => {
                    json!({"op": "DATA", "channel": channel, "body": ""})
                }
                Decoded::Payload(bytes) => {
                    let last = self.said.back_mut().unwrap();
                    let body = last["body"].as_str().unwrap().to_owned() + &crate::hex::hex(bytes);
                    last["body"] = body.into();
                    continue;
                }
                other => self.fail(format!("{other:?}")),
            };
            frame["version"] = (version as u8).into();
            self.said.push_back(frame);
        }
    }

    /// Whether the core may say this at any time.
    fn passes(&mut self, frame: &Value) -> bool {
        // Not before the player's own settings, which it has not said then.
        if frame["op"] == "PING" && self.core.is_connected() {
            let token = frame["token"].as_str().unwrap().parse().unwrap();
            self.core.handle_input(&pong(token), self.now);
        }
        let any = ["PING", "PONG", "WINDOW", "MAX_CHANNELS", "RETURN"];
        any.contains(&frame["op"].as_str().unwrap())
    }

    fn hears(&mut self, step: &Value) {
        let until = self.now + PATIENCE;
        let mut wanted = step.clone();
        loop {
            self.pump();
            let Some(mut frame) = self.said.pop_front() else {
                match step["optional"] == true {
                    true => return,
                    false if self.now >= until => self.fail("nothing is said"),
                    false => self.now += Duration::from_millis(10),
                }
                self.core.handle_timeout(self.now);
                continue;
            };
            if takes(&mut frame, &mut wanted) {
                if frame["body"] != "" {
                    self.said.push_front(frame);
                }
                if wanted["frame"]["body"] == "" {
                    return;
                }
            } else if matches(&frame, step, &self.conversation["settings"]) {
                self.token = frame["token"].clone();
                return;
            } else if !self.passes(&frame) {
                if step["optional"] == true {
                    return self.said.push_front(frame);
                }
                self.fail(format!("another frame: {frame:.200}"));
            }
        }
    }

    fn ends(&mut self) {
        self.pump();
        if self.core.error().is_none() {
            self.fail("it goes on");
        }
    }

    fn key(&self, step: &Value) -> Key {
        let channel = step["channel"].as_u64().unwrap();
        match self.keys.get(&channel) {
            Some(key) => *key,
            None => self.fail("no such channel"),
        }
    }

    fn does(&mut self, what: &str, step: &Value) {
        let code = step["code"].as_u64().unwrap_or_default() as u32;
        match what {
            "open" => {
                let key = self.core.open().unwrap();
                let id = self.core.id(key).unwrap();
                self.keys.insert(id.into(), key);
                if step["channel"] != id {
                    self.fail(format!("it opens {id}"));
                }
            }
            "write" => {
                let bytes = filled(&step["body"], &step["fill"]);
                let written = self.core.write(self.key(step), &bytes);
                if written != Ok(bytes.len()) {
                    self.fail(format!("{written:?}"));
                }
            }
            "finish" => self.core.finish(self.key(step)).unwrap(),
            "reset" => self.core.reset(self.key(step), code),
            "stop" => self.core.stop(self.key(step), code),
            "release" => self.core.release(self.key(step)),
            "drain" => self.core.drain(),
            "close" => self.core.close(step["text"].as_str().unwrap()),
            "read" => {
                let mut left = step["bytes"].as_u64().unwrap() as usize;
                while left > 0 {
                    match self.core.read_with(self.key(step), left, |_| {}) {
                        Ok(Read::Bytes(n)) => left -= n,
                        other => self.fail(format!("{other:?}")),
                    }
                }
            }
            "end_all" => {
                while let Some(key) = self.core.accept() {
                    self.core.finish(key).unwrap();
                    self.core.release(key);
                }
            }
            other => self.fail(other),
        }
    }

    fn learns(&mut self, event: &str, step: &Value) {
        let code = step["code"].as_u64().unwrap_or_default() as u32;
        let right = match event {
            "opened" => match self.core.accept() {
                Some(key) => {
                    let id = self.core.id(key).unwrap();
                    self.keys.insert(id.into(), key);
                    step["channel"] == id
                }
                None => false,
            },
            "connected" => self.core.is_connected(),
            "data" => {
                let body = filled(&step["body"], &step["fill"]);
                let mut got = vec![0; body.len() + 1];
                let read = self.core.read(self.key(step), &mut got);
                read == Ok(Read::Bytes(body.len())) && got.starts_with(&body)
            }
            "finished" => self.read(step) == Ok(Read::Finished),
            "reset" => self.read(step) == Err(ChannelError::Reset(code)),
            "nothing_more" => self.core.accept().is_none(),
            "refused_writer" => {
                let error = self.core.write(self.key(step), b"x");
                matches!(error, Err(ChannelError::Refused(_)))
            }
            "refused" => matches!(self.read(step), Err(ChannelError::Refused(_))),
            "lost_channel" => matches!(self.read(step), Err(ChannelError::Connection(_))),
            "stopped" => self.core.write(self.key(step), b"x") == Err(ChannelError::Stopped(code)),
            "draining" => self.core.open() == Err(OpenError::Draining),
            "drained" => self.core.is_drained(),
            "closed" => {
                matches!(self.core.error(), Some(ConnectionError::PeerClosed { code: found, .. }) if found.0 == code)
            }
            "violation" => {
                matches!(self.core.error(), Some(ConnectionError::Violation { code: found, .. }) if found.0 == code)
            }
            "lost" => matches!(self.core.error(), Some(ConnectionError::Lost(_))),
            "mismatch" => matches!(self.core.error(), Some(ConnectionError::Version(_))),
            other => self.fail(other),
        };
        if !right && step["optional"] != true {
            self.fail("it does not learn this");
        }
    }

    fn read(&mut self, step: &Value) -> Result<Read, ChannelError> {
        self.core.read(self.key(step), &mut [0])
    }
}

/// Takes the bytes of a DATA frame from those that are wanted: how they are cut is free.
fn takes(frame: &mut Value, wanted: &mut Value) -> bool {
    let of = &mut wanted["frame"];
    if [&frame["op"], &of["op"]] != ["DATA"; 2] || frame["channel"] != of["channel"] {
        return false;
    }
    if let Some(fill) = of.as_object_mut().unwrap().remove("fill") {
        of["body"] = crate::hex::hex(&filled(&of["body"], &fill)).into();
    }
    let (came, left) = (
        frame["body"].as_str().unwrap(),
        of["body"].as_str().unwrap(),
    );
    let same = came.len().min(left.len());
    if same == 0 || came[..same] != left[..same] {
        return false;
    }
    let rest = (came[same..].to_owned(), left[same..].to_owned());
    (frame["body"], of["body"]) = (rest.0.into(), rest.1.into());
    true
}

/// Whether a frame is the one of the step, where `*` is any value.
fn matches(frame: &Value, step: &Value, settings: &Value) -> bool {
    let expected = step["frame"].as_object().unwrap();
    let free = expected["op"] == "SETTINGS" && settings.is_null();
    let same = |(name, value): (&String, &Value)| match name.as_str() {
        "body" if free => true,
        "body" => {
            frame["body"]
                == crate::hex::hex(&filled(
                    value,
                    &expected.get("fill").cloned().unwrap_or_default(),
                ))
        }
        "fill" => true,
        _ => *value == "*" || frame[name] == *value,
    };
    frame["version"] == step["version"].as_u64().unwrap_or(1) && expected.iter().all(same)
}

fn pong(token: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    tcpchan::wire::Frame::Control(Control::Pong { token }).encode(Version::V1, &mut bytes);
    bytes
}

/// A frame as the file has it.
fn frame(control: Control) -> Value {
    match control {
        Control::Hello { magic } => json!({"op": "HELLO", "magic": magic}),
        Control::HelloReply { magic } => json!({"op": "HELLO_REPLY", "magic": magic}),
        Control::Settings { body } => json!({"op": "SETTINGS", "body": crate::hex::hex(&body)}),
        Control::Open { channel } => json!({"op": "OPEN", "channel": channel}),
        Control::Close { channel } => json!({"op": "CLOSE", "channel": channel}),
        Control::Window {
            channel,
            limit,
            loan,
        } => {
            json!({"op": "WINDOW", "channel": channel, "limit": limit.to_string(), "loan": loan})
        }
        Control::Fin { channel, debt } => {
            json!({"op": "FIN", "channel": channel, "debt": debt.to_string()})
        }
        Control::Stop { channel, code } => json!({"op": "STOP", "channel": channel, "code": code}),
        Control::Reset {
            channel,
            code,
            debt,
        } => {
            json!({"op": "RESET", "channel": channel, "code": code, "debt": debt.to_string()})
        }
        Control::Ping { token } => json!({"op": "PING", "token": token.to_string()}),
        Control::Pong { token } => json!({"op": "PONG", "token": token.to_string()}),
        Control::MaxChannels { count } => json!({"op": "MAX_CHANNELS", "count": count}),
        Control::Drain => json!({"op": "DRAIN"}),
        Control::GoAway { last, code, text } => {
            json!({"op": "GOAWAY", "last": last, "code": code, "text": text})
        }
        Control::Return { total } => json!({"op": "RETURN", "total": total.to_string()}),
        other => panic!("{other:?}"),
    }
}

/// That a player needs nothing but the file: one page of Python plays an echo server's.
#[cfg(feature = "tokio")]
#[test]
#[ignore = "needs Python: run by .ci/run"]
fn a_page_of_python_replays_the_conversations_of_an_echo_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        let config = tcpchan::Config::default().max_channels(256).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let connection = tcpchan::Connection::server(stream, config.clone());
            tokio::spawn(async move {
                while let Some(channel) = connection.accept().await {
                    tokio::spawn(echo(channel));
                }
            });
        }
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/replay.py");
    let output = std::process::Command::new("python3")
        .args([script, "127.0.0.1", &port.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("conversations"),
        "{said}{errors}"
    );
}

#[cfg(feature = "tokio")]
async fn echo(channel: tcpchan::Channel) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let (mut reader, mut writer) = channel.into_split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
