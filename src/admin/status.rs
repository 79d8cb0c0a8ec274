//! How the server is: `/api/v1/status`.

use std::process;
use std::thread;

use actix_web::web::{Data, Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::model::{Limits, Machine, Stage, Status};
use super::state::Admin;
use crate::limits::memory;
use crate::stage;

/// How the server is: its version, its stage, its size, and the bounds of its process.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub async fn show(admin: Data<Admin>) -> Json<Status> {
    let facts = &admin.facts;
    let (instant, began) = facts.began;
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        pid: process::id(),
        began: OffsetDateTime::from(began).format(&Rfc3339).unwrap_or_default(),
        uptime_ms: instant.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        stage: admin.stage.get().into(),
        workers: facts.workers,
        connections: admin.clients.connections(),
        sessions: admin.clients.sessions(),
        conversations: usize::try_from(admin.metrics.conversations.get()).unwrap_or(0),
        resident_bytes: memory::resident_bytes(),
        machine: Machine {
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory::of_machine(),
        },
        limits: Limits {
            files: facts.files_max,
            connections: facts.connections_max,
            memory_bytes: admin.clients.memory_max(),
        },
    })
}

impl From<stage::Stage> for Stage {
    fn from(stage: stage::Stage) -> Self {
        match stage {
            stage::Stage::Starting => Self::Starting,
            stage::Stage::Serving => Self::Serving,
            stage::Stage::Draining => Self::Draining,
        }
    }
}
