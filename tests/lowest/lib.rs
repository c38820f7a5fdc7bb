//! Nothing: this package is for its dependencies and tests.
