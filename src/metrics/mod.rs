//! The Prometheus metrics of one server.
//!
//! * [`table`]: every metric, declared once.
//! * [`labels`]: the labels, and the closed sets of their values; [`messages`]: the kinds of message to actors.
//! * [`server`]: the metrics of one server, and handles to the rows that change most.
//! * [`mailboxes`]: the mailboxes of one class of actor: their bound, and the measurements of them.
//! * [`gate`]: the gate in front of MAX, and the calls behind it.
//! * [`totals`]: the counts of all talks, deliveries and calls to MAX, as numbers.
//! * [`worker`]: the threads that run actors: how busy they are, and how late they wake.
//! * [`striped`]: counters and gauges that many threads change; [`histogram`]: histograms that they do.
//! * [`peak`]: the highest number of the last minute.
//! * [`scraped`]: metrics that get their value at a scrape; [`process`]: those of the process.
//! * [`grafana`] and [`alerts`]: a dashboard and alerting rules over the metrics of the table.
//! * `query`: the expressions in them.
//! * [`text`]: the text forms of `/metrics`.

pub mod alerts;
pub mod gate;
pub mod grafana;
pub mod histogram;
pub mod labels;
pub mod mailboxes;
pub mod messages;
pub mod peak;
pub mod process;
mod query;
pub mod scraped;
pub mod server;
pub mod striped;
pub mod table;
pub mod text;
pub mod totals;
pub mod worker;

pub use crate::limits::Limit;
pub use gate::GateMetrics;
pub use labels::{
    ActorClass, BusDirection, BusDirectionLabel, BusGap, BusGapLabel, BusKind, BusKindLabel, BusReasonLabel,
    CloseLabel, DeliveryPath, EventLabel, FeedGap, FeedGapLabel, FeedKind, FeedKindLabel, FeedLabel, FeedReasonLabel,
    HandshakeLabel, HandshakeResult, ListenerName, MaxResult, OkOrCode, OrOther, RecoveryLabel, RecoveryResult,
    RefusalLabel, RelayLabel, RelayResult, ResultLabel, SessionLabel, ShardLabel, WireReason, WorkerName,
};
pub use mailboxes::MailboxMetrics;
pub use messages::{MessageKind, ToConversation, ToRegistry, ToSession};
pub use scraped::Reading;
pub use server::{Metrics, Written};
pub use table::ReadAtScrape;
