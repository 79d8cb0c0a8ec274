//! The operators' pages, on a listener of their own: `/metrics` and `/health`.

use std::sync::Arc;

use actix_web::body;
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Data, ServiceConfig, get, head, method, resource, to};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource};
use serde_json::json;

use super::sessions::Sessions;
use crate::metrics::Metrics;
use crate::metrics::text::Form;

/// The methods that all admin paths take.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The state behind the admin pages.
#[derive(Debug)]
pub struct Admin {
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// The sessions of the server.
    pub sessions: Arc<Sessions>,
}

/// Mounts the admin paths.
pub fn routes(admin: Data<Admin>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(admin).service(read_only("/", index));
        config.service(read_only("/metrics", metrics)).service(read_only("/health", health));
        config.service(read_only("/health/", health));
        config.default_service(to(elsewhere));
    }
}

/// Returns a resource that can only be read. It takes HEAD and OPTIONS besides GET, because load balancers probe by any
/// of them.
fn read_only<Args>(path: &str, handler: impl Handler<Args, Output = HttpResponse>) -> Resource
where
    Args: FromRequest + 'static,
{
    let allowed = |status| async move { HttpResponse::build(status).insert_header((header::ALLOW, METHODS)).finish() };
    resource(path)
        .route(get().to(handler.clone()))
        .route(head().to(handler))
        .route(method(Method::OPTIONS).to(move || allowed(StatusCode::OK)))
        .default_service(to(move || allowed(StatusCode::METHOD_NOT_ALLOWED)))
}

/// The text of the index page.
const INDEX: &str = "Here are /metrics and /health.\n";

async fn index() -> HttpResponse {
    HttpResponse::Ok().body(INDEX)
}

/// Answers for all other paths: 200 to OPTIONS, because some load balancers probe by `OPTIONS *`, otherwise 404.
async fn elsewhere(request: HttpRequest) -> HttpResponse {
    let is_options = request.method() == Method::OPTIONS;
    let mut answer = if is_options { HttpResponse::Ok() } else { HttpResponse::NotFound() };
    answer.insert_header((header::ALLOW, METHODS));
    if is_options { answer.finish() } else { answer.body(INDEX) }
}

async fn metrics(admin: Data<Admin>, request: HttpRequest) -> HttpResponse {
    let form = Form::accepted(request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()));
    let mut answer = HttpResponse::Ok();
    answer.content_type(form.content_type());
    answer.insert_header((header::VARY, "Accept")).insert_header((header::CACHE_CONTROL, "no-store"));
    // HEAD is no scrape: the peaks are kept for the next GET.
    if request.method() == Method::HEAD {
        return answer.body(body::None::new());
    }
    answer.body(form.of(admin.metrics.render()))
}

/// Reports whether this process serves. MAX is not asked: restarting maxtalk would not help a MAX that is down.
async fn health(admin: Data<Admin>) -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"status": "ok", "version": version, "sessions": admin.sessions.len()}))
}
