//! How the server is: `/api/v1/status`.

use std::process;
use std::thread;

use actix_web::web::{Data, Json};

use super::model::{Limits, Machine, Status};
use super::refusals::Refusals;
use super::state::Admin;
use crate::limits::memory;
use crate::version;

/// How the server is: its version, its stage, its size, and the bounds of its process.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status), Refusals))]
pub async fn show(admin: Data<Admin>) -> Json<Status> {
    Json(of(&admin))
}

/// Returns how the server is.
pub fn of(admin: &Admin) -> Status {
    let facts = &admin.facts;
    Status {
        version: version::VERSION.to_owned(),
        commit: version::COMMIT.map(str::to_owned),
        date: version::DATE.map(str::to_owned),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        pid: process::id(),
        began: facts.time_of(0),
        uptime_ms: facts.uptime_ms(),
        stage: admin.stage.get().into(),
        workers: facts.workers,
        connections: admin.clients.connections(),
        sessions: admin.clients.sessions(),
        conversations: admin.conversations(),
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
    }
}
