"""A peer of version 1, both roles, written from src/wire/SPEC.md and the vectors alone.

It shows that SPEC.md is enough, and it interoperates with this crate in tests. It doesn't
speak version 0, and has no pool: it skips the timers "probe" and "suspect" of W18.1.
"""
