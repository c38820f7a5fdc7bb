use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};

/// What a client says that breaks a rule behind its handshake.
pub fn violation() -> Vec<u8> {
    let magic = DEFAULT_MAGIC;
    let body = Settings::default().encode();
    let mut bytes = Vec::new();
    for control in [Control::Hello { magic }, Control::Settings { body }] {
        Frame::Control(control).encode(Version::V1, &mut bytes);
    }
    bytes.extend(b"nonsense");
    bytes
}
