#![doc = include_str!("../README.md")]

pub mod cli;
pub mod cluster;
pub mod data;
pub mod fault;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod tables;
