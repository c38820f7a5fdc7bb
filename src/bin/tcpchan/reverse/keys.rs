//! The keys of names. A key never leaves its host: what is sent is a code of a nonce by it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use ring::hmac;

use crate::failure::Problem;

/// Bytes of the shortest key.
const SHORTEST: usize = 16;

#[derive(Clone)]
pub struct Keys(HashMap<String, hmac::Key>);

impl Keys {
    /// Reads a file: a line for each name, NAME KEY. A `#` begins a comment.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let problem = |line: Option<usize>, text: &str| {
            let line = line.map_or(String::new(), |line| format!(":{line}"));
            Problem::new("key-file", text).of(format!("{}{line}", path.display()))
        };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| problem(None, &error.to_string()))?;
        let mut keys = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line
                .split_whitespace()
                .take_while(|word| !word.starts_with('#'));
            let (name, key) = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(name), Some(key), None) => (name, key),
                _ => return Err(problem(Some(number), "it must be NAME KEY")),
            };
            if key.len() < SHORTEST {
                return Err(problem(Some(number), "a key must have at least 16 bytes"));
            }
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            if keys.insert(name.to_owned(), key).is_some() {
                return Err(problem(Some(number), "the name is there twice"));
            }
        }
        Ok(Keys(keys))
    }

    /// The code that shows who has the name's key.
    pub fn sign(&self, name: &str, nonce: &str) -> Option<Vec<u8>> {
        let code = hmac::sign(self.0.get(name)?, &signed(name, nonce));
        Some(code.as_ref().to_vec())
    }

    /// Whether the code is by the name's key. The time that it takes tells nothing of the key.
    pub fn verify(&self, name: &str, nonce: &str, code: &[u8]) -> bool {
        let verified = |key| hmac::verify(key, &signed(name, nonce), code).is_ok();
        self.0.get(name).is_some_and(verified)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

fn signed(name: &str, nonce: &str) -> Vec<u8> {
    format!("tcpchan-hub/1 {name} {nonce}").into_bytes()
}
