//! The overview of the server: `/api/v1/overview`, `/api/v1/mailboxes` and `/api/v1/max`. The figures are those of the
//! last sample. Status, lists and the cluster are those of the moment.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use actix_web::web::{Data, Json};

use super::cluster;
use super::conversations;
use super::drain;
use super::model::overview::{Mailboxes, Max, Overview};
use super::recent::Sample;
use super::recent::figures::{Figures, Moment, Settings, setting_of};
use super::refusals::Refusals;
use super::sessions;
use super::state::Admin;
use super::status;
use crate::board::conversations::ConversationMeasure;
use crate::board::sessions::SessionMeasure;
use crate::metrics::ActorClass;

/// Sessions and conversations of an overview.
const TOP: usize = 20;

/// Closed sessions of an overview.
const CLOSED: usize = 50;

/// The server at one moment, as the dashboard and `maxtalk top` show it.
#[utoipa::path(get, path = "/api/v1/overview", responses((status = 200, body = Overview), Refusals))]
pub async fn show(admin: Data<Admin>) -> Json<Overview> {
    Json(of(&admin))
}

/// The mailboxes, with the setting behind each limit and the source of its value.
#[utoipa::path(get, path = "/api/v1/mailboxes", responses((status = 200, body = Mailboxes), Refusals))]
pub async fn mailboxes(admin: Data<Admin>) -> Json<Mailboxes> {
    Json(Mailboxes { mailboxes: last(&admin).figures.mailboxes.clone() })
}

/// The calls to MAX.
#[utoipa::path(get, path = "/api/v1/max", responses((status = 200, body = Max), Refusals))]
pub async fn max(admin: Data<Admin>) -> Json<Max> {
    Json(last(&admin).figures.max.clone())
}

/// Returns the overview.
pub fn of(admin: &Admin) -> Overview {
    let last = last(admin);
    let Figures { rates, workers, mailboxes, max, .. } = last.figures.clone();
    let boards = &admin.boards;
    let slow = boards.sessions.top(SessionMeasure::Bytes, TOP);
    let hot = boards.conversations.top(ConversationMeasure::Deliveries, TOP);
    let closed = boards.sessions.closed.newest_first();
    Overview {
        at_ms: last.at_ms,
        status: status::of(admin),
        drain: drain::progress(admin),
        rates,
        workers,
        mailboxes,
        sessions: slow.iter().map(|card| sessions::shown(admin, card)).collect(),
        conversations: hot.iter().map(|card| conversations::shown(admin, card)).collect(),
        closed: closed.iter().take(CLOSED).map(|session| sessions::shown_closed(admin, session)).collect(),
        max,
        cluster: admin.bus.is_some().then(|| cluster::of(admin)),
        warnings: last.warnings.clone(),
    }
}

/// Returns the last sample. Before the first one, nothing has happened.
fn last(admin: &Admin) -> Arc<Sample> {
    admin.recent.last().unwrap_or_else(|| {
        let now = moment(admin);
        let figures = Figures::between(&now, &now, &settings(admin));
        Arc::new(Sample { at_ms: unix_ms(), figures, warnings: Vec::new() })
    })
}

/// Measures everything.
pub fn moment(admin: &Admin) -> Moment {
    let now = Instant::now();
    Moment {
        seconds: now.saturating_duration_since(admin.facts.began.0).as_secs_f64(),
        readings: admin.metrics.read(now),
        totals: admin.metrics.totals(),
    }
}

/// Returns the settings that the figures are compared with.
pub fn settings(admin: &Admin) -> Settings {
    let config = admin.config.get();
    Settings {
        sources: ActorClass::ALL.map(|class| config.source(setting_of(class))),
        inflight_max: config.max.inflight_max,
    }
}

/// Returns the present time, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}
