//! For who comes from the Python package; there is no code here.
#![doc = include_str!("from_python.md")]
