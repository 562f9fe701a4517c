//! What the load generator (`src/main.rs`) and the raw ceiling (`src/bin/raw.rs`) share: the wire formats.

pub mod wire;
