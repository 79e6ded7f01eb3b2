#![doc = include_str!("../README.md")]

pub mod authority;
pub mod block;
pub mod codec;
pub mod crypto;
pub mod light;
pub mod merkle;
pub mod primitives;
pub mod state;
