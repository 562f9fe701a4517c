//! What stories are written with: a server of their own, people who use it, and a back door for what no API shows.

pub mod app;
pub mod balancer;
pub mod binary;
pub mod clocked;
pub mod cluster;
pub mod codes;
pub mod disk;
pub mod footprint;
pub mod http;
pub mod node;
pub mod people;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod socket;
pub mod stream;
pub mod tls;
