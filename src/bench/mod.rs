//! The load bench: thousands of clients for any server that speaks the protocol. A plan says who talks where and how
//! often, a ledger knows what everybody has to hear, and a report shows the outcome.
//!
//! * [`command`]: the whole command.
//! * [`options`]: the command line of `maxtalk bench`, and the plan that it makes.
//! * [`plan`]: connections, transports, conversations and talks: pure.
//! * [`protocol`]: what a chat server calls its events and their fields: pure.
//! * [`ledger`]: exact accounting of lost, duplicated, disordered and misdelivered updates: pure.
//! * [`measure`]: latencies in histograms, from the intended and from the real time of sending.
//! * [`client`]: one client, of any generation over any transport.
//! * [`exposition`], [`exposed`]: the metrics of the server, and the figures of a run in them: pure.
//! * [`target`]: the server as a process: its CPU time and memory, and a child that is spawned for the run.
//! * [`subject`]: the server of the runs, found or started.
//! * [`engine`]: the run: ramp, talks, churn, the end.
//! * [`knee`], [`trials`]: the search for the highest rate that holds an objective, and its runs.
//! * [`sweep`]: values of a limit compared, and one recommended.
//! * [`outcome`]: the numbers of a run, and whether they can be trusted: pure.
//! * [`report`]: the outcome as a table, as JSON, and as a page with plots.
//! * [`mistakes`]: what a run shows of mistakes in the file of `--protocol`: pure.
//! * [`interrupt`]: the signals that end a bench.
//! * [`units`]: lengths of time with a unit.
//! * `printable`: text from outside, made fit for a terminal.

pub mod client;
pub mod command;
pub mod engine;
pub mod exposed;
pub mod exposition;
pub mod interrupt;
pub mod knee;
pub mod ledger;
pub mod measure;
pub mod mistakes;
pub mod options;
pub mod outcome;
pub mod plan;
mod printable;
pub mod protocol;
pub mod report;
pub mod subject;
pub mod sweep;
pub mod target;
pub mod trials;
pub mod units;
