use super::{List, encoded, hello};
use crate::frame::{Frame, LEAST, Settings, header, setting};
use crate::peer::{MAGIC, Outcome, Peer, Role};

fn greet(peer: &mut Peer, body: &[u8]) -> Outcome {
    if peer.role == Role::Client {
        peer.wait("its HELLO", |seen| seen.magic.is_some())?;
    }
    let frames = [peer.hello(MAGIC), Frame::Settings(body.to_vec())];
    peer.bytes(&encoded(&frames));
    Ok(())
}

fn taken(list: &mut List, rule: &'static str, name: &str, body: Vec<u8>) {
    list.both(rule, name, move |peer| {
        greet(peer, &body)?;
        peer.wait("its settings", |seen| seen.settings.is_some())?;
        peer.alive()?;
        peer.echo().map(drop)
    });
}

fn wrong(list: &mut List, rule: &'static str, name: &str, body: Vec<u8>) {
    list.both(rule, name, move |peer| {
        greet(peer, &body)?;
        peer.ends(4)
    });
}

pub fn add(list: &mut List) {
    taken(list, "W3.2", "empty settings", vec![]);
    taken(
        list,
        "W3.2",
        "1,024 bytes of settings",
        setting(0x7777, &[0; 1020]),
    );
    list.both("W3.2", "a header of 1,025 bytes of settings", |peer| {
        hello::half(peer)?;
        peer.bytes(&header(0x05, 0, 1025));
        peer.ends(4)
    });
    wrong(list, "W3.2", "half a type", vec![0]);
    wrong(list, "W3.2", "a type without its length", vec![0, 1, 0]);
    wrong(
        list,
        "W3.2",
        "a value that is cut off",
        vec![0, 1, 0, 4, 0, 1],
    );
    wrong(
        list,
        "W3.2",
        "an unknown type that is cut off",
        vec![0x77, 0, 0, 9, 1],
    );
    let window = setting(1, &[0, 1, 0, 0]);
    wrong(
        list,
        "W3.2",
        "a byte behind the settings",
        [&window[..], &[0]].concat(),
    );
    taken(list, "W3.3", "an unknown type", setting(9, &[1, 2, 3]));
    taken(
        list,
        "W3.3",
        "an unknown type without a value",
        setting(0xFFFF, &[]),
    );
    taken(list, "W3.3", "type 0", setting(0, &[0; 8]));
    let twice = [setting(5, &[1]), window.clone(), setting(5, &[2])].concat();
    taken(list, "W3.3", "an unknown type twice", twice);
    for (kind, size) in [(1, 4), (2, 4), (3, 8), (4, 8)] {
        let value = &[0, 1, 0, 0, 0, 0, 0, 0][..size];
        let once = setting(kind, value);
        let more = [&once[..], &setting(9, &[]), &once].concat();
        wrong(list, "W3.4", &format!("type {kind} twice"), more);
        for length in [0, size - 1, size + 1] {
            let name = format!("type {kind} of {length} bytes");
            wrong(list, "W3.4", &name, setting(kind, &vec![0; length]));
        }
    }
    for (kind, value) in [(1, 65_535), (1, 0), (1, 1u32 << 31), (2, 255), (2, 1 << 31)] {
        let name = format!("type {kind} with {value}");
        wrong(list, "W3.4", &name, setting(kind, &value.to_be_bytes()));
    }
    let most = Settings {
        window: i32::MAX as u32,
        channels: i32::MAX as u32,
        budget: u64::MAX,
    };
    for (name, of) in [("least", LEAST), ("highest", most)] {
        list.both("W3.4", format!("the {name} values"), move |peer| {
            peer.greet_with(of)?;
            peer.alive()?;
            peer.echo().map(drop)
        });
    }
    taken(
        list,
        "W3.4",
        "a number of the connection",
        setting(4, &[9; 8]),
    );
    list.both(
        "W3.5",
        "with empty settings the least window holds",
        |peer| {
            greet(peer, &[])?;
            peer.wait("its settings", |seen| seen.settings.is_some())?;
            let channel = peer.open();
            peer.send(channel, 65_536)?;
            peer.wait("a window of bytes", |seen| {
                seen.channel(channel).data.len() == 65_536
            })?;
            peer.alive()
        },
    );
    list.violation(
        "W3.1",
        "second settings",
        Frame::Settings(vec![]).encode(),
        1,
    );
}
