//! What operators look at, on a listener of its own: `/metrics` and `/health`.

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig, get, to};
use actix_web::{HttpResponse, http::header};
use serde_json::json;

use super::sessions::Sessions;
use crate::metrics::Metrics;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Its sessions.
    pub sessions: Arc<Sessions>,
}

/// Mounts the admin paths.
pub fn routes(admin: Data<Admin>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(admin).route("/metrics", get().to(metrics)).route("/health", get().to(health));
        config.default_service(to(|| async { HttpResponse::NotFound().body("Here are /metrics and /health.\n") }));
    }
}

async fn metrics(admin: Data<Admin>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(admin.metrics.render())
}

/// Whether this process serves. It asks nobody else: a MAX that is down is no reason to restart maxtalk.
async fn health(admin: Data<Admin>) -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"status": "ok", "version": version, "sessions": admin.sessions.len()}))
}
