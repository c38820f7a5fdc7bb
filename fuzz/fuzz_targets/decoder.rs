//! The decoder, fed bytes: it never panics, gives no more payload than was
//! announced, and every frame that it gives encodes to one that it gives again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpchan::wire::{Control, Decoded, Decoder, Frame, Protocol, Settings, Version};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, input)) = data.split_first() else {
        return;
    };
    let (mut decoder, protocol) = match kind % 4 {
        0 => (Decoder::new(Protocol::V1), Protocol::V1),
        1 => (Decoder::new(Protocol::Auto), Protocol::Auto),
        2 => (Decoder::new(Protocol::V0), Protocol::V0),
        _ => (Decoder::version0_server(), Protocol::V0),
    };
    let split = usize::from(kind / 4) % (input.len() + 1);
    let mut announced = 0;
    for mut piece in [&input[..split], &input[split..]] {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(Decoded::Control(control))) => again(control, &decoder, protocol),
                Ok(Some(Decoded::Data { len, .. })) => {
                    assert_eq!(announced, 0, "a frame before the last one's end");
                    announced = len;
                }
                Ok(Some(Decoded::Payload(bytes))) => {
                    assert!(!bytes.is_empty());
                    announced = announced
                        .checked_sub(bytes.len())
                        .expect("too much payload");
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(piece.is_empty());
    }
});

fn again(control: Control, decoder: &Decoder, protocol: Protocol) {
    if let Control::Settings { body } = &control {
        let _ = Settings::decode(body);
    }
    let version = decoder.version().expect("a frame tells the version");
    let mut bytes = Vec::new();
    Frame::Control(control.clone()).encode(version, &mut bytes);
    let mut second = match version {
        Version::V0 => Decoder::new(Protocol::V0),
        _ => Decoder::new(protocol),
    };
    let mut rest = &bytes[..];
    assert_eq!(
        second.decode(&mut rest),
        Ok(Some(Decoded::Control(control)))
    );
    assert!(rest.is_empty());
}
