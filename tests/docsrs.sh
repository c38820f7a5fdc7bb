#!/usr/bin/env bash
# rustdoc as docs.rs runs it, with the labels of features, on the stable
# toolchain: the program for cargo's RUSTDOC.
RUSTC_BOOTSTRAP=1 exec rustdoc --cfg docsrs "$@"
