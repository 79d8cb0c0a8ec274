//! The load bench: a client of the protocol by the thousand, for any server of it. A plan says who talks where and how
//! often; a ledger knows what everybody has to hear; a report says what came of it.
//!
//! * [`command`]: the whole command.
//! * [`options`]: the command line of `maxtalk bench`, and what of it can be a plan.
//! * [`plan`]: how many connections by which transports, in which conversations, talking at which rate: pure.
//! * [`ledger`]: exact accounting: lost, duplicated, out of order, misdelivered: pure.
//! * [`measure`]: latencies in histograms, from the intended time and from the real one, and over time.
//! * [`client`]: one connection, of any generation over any transport.
//! * [`target`]: the server as a process: its CPU time and memory, and a child that is spawned for the run.
//! * [`engine`]: the run: ramp, talks, churn, the end.
//! * [`knee`]: the highest rate that holds an objective.
//! * [`outcome`]: the numbers of a run, and whether they can be trusted: pure.
//! * [`report`]: the outcome as a table, as JSON, and as a page with plots.
//! * `units`: quantities with their units.
//! * `printable`: text from outside.

pub mod client;
pub mod command;
pub mod engine;
pub mod knee;
pub mod ledger;
pub mod measure;
pub mod options;
pub mod outcome;
pub mod plan;
mod printable;
pub mod report;
pub mod target;
mod units;
