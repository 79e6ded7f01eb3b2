#![doc = include_str!("../README.md")]

pub mod cli;
pub mod cluster;
pub mod data;
pub mod progress;
pub mod report;
pub mod scenario;
