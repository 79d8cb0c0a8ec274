//! The Prometheus metrics of one server.
//!
//! * [`table`]: every metric, declared once.
//! * [`labels`]: the labels, and the closed sets of their values.
//! * [`server`]: the metrics of one server, and handles to the rows that change most.
//! * [`scraped`]: metrics that get their value at a scrape.
//! * [`striped`]: counters and gauges that many threads change.
//! * [`grafana`] and [`alerts`]: a dashboard and alerting rules over the metrics of the table.
//! * `query`: the expressions in them.
//! * [`text`]: the text forms of `/metrics`.

pub mod alerts;
pub mod grafana;
pub mod labels;
mod query;
pub mod scraped;
pub mod server;
pub mod striped;
pub mod table;
pub mod text;

pub use crate::limits::Limit;
pub use labels::{
    ActorClass, CloseLabel, DeliveryPath, EventLabel, HandshakeLabel, HandshakeResult, ListenerName, OkOrCode, OrOther,
    RefusalLabel, ResultLabel, SessionLabel,
};
pub use scraped::Reading;
pub use server::{MailboxMetrics, Metrics, Written};
pub use table::ReadAtScrape;
