#![doc = include_str!("../README.md")]

pub mod authority;
pub mod block;
pub mod codec;
pub mod crypto;
pub mod primitives;
