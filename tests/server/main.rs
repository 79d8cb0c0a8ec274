//! The server with real connections, and the program with real processes: one module for each matter. They are one test
//! program, because each program that is linked takes 85 MB and builds the shared code of the tests once more.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod admin_api;
mod admin_live;
mod bench;
mod bench_command;
mod bench_nodes;
mod bench_target;
mod cluster;
mod cluster_admin;
mod cluster_announcements;
mod cluster_bad_input;
mod cluster_bus;
mod cluster_faults;
mod cluster_nodes;
mod cluster_slots;
mod codecs;
mod connections;
mod conversation;
mod crowd;
mod engine_io_3;
mod fault_lab;
mod feed;
mod generations;
mod handshake;
mod healthcheck;
mod joining;
mod legacy;
mod legacy_transports;
mod limits;
mod max_demo;
mod max_faults;
mod max_start;
mod monitoring;
mod pages;
mod recovery;
mod recovery_nodes;
mod requests;
mod session_life;
mod set;
mod sid_tags;
mod slow_readers;
mod stop;
mod terminal;
mod upgrade;
mod websocket;
