//! The sampler: once a second it measures the server, and adds the figures to its recent past. It measures a fixed
//! number of things, whatever the number of sessions and conversations.

use std::time::Duration;

use actix_web::web::Data;
use tokio::time::{MissedTickBehavior, interval};

use super::overview::{moment, settings, unix_ms};
use super::recent::figures::Figures;
use super::state::Admin;
use super::{cluster, drain, live, status};

/// The time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// Samples for as long as this thread runs.
pub async fn run(admin: Data<Admin>) {
    let mut ticks = interval(PERIOD);
    // A sample that was missed is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut then = moment(&admin);
    loop {
        ticks.tick().await;
        let now = moment(&admin);
        let figures = Figures::between(&then, &now, &settings(&admin));
        let (status, drain, cluster) = (status::of(&admin), drain::progress(&admin), cluster::of(&admin));
        admin.recent.add(unix_ms(), figures, &status, drain, &cluster);
        live::publish(&admin);
        then = now;
    }
}
