//! Bytes as the vectors write them.
#![allow(dead_code)] // each test file uses a part

use serde_json::Value;

pub fn unhex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a field, and those of its vector's `fill`.
pub fn filled(hex: &Value, fill: &Value) -> Vec<u8> {
    let mut bytes = unhex(hex.as_str().unwrap());
    if let (Some(byte), Some(count)) = (fill["byte"].as_u64(), fill["count"].as_u64()) {
        bytes.resize(bytes.len() + count as usize, byte as u8);
    }
    bytes
}
