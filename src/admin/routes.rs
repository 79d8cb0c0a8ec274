//! The paths of the admin listener, and the answers of `/metrics` and `/health`.

use actix_web::body;
use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Data, ServiceConfig, resource, to};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::answers::{READING, read_only};
use super::page::INDEX;
use super::state::Admin;
use super::{api, docs, live, page};
use crate::cluster::bus;
use crate::metrics::text::Form;
use crate::stage::Stage;
use crate::version;

/// Mounts the paths.
pub fn mount(admin: Data<Admin>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(admin).service(read_only("/", page::index)).configure(page::mount);
        config.service(read_only("/metrics", metrics)).service(read_only("/health", health));
        config.service(read_only("/health/", health)).service(read_only("/health/live", live));
        config.service(read_only("/health/ready", ready));
        config.service(resource(live::PATH).to(live::refuse));
        api::mount(config);
        docs::mount(config);
        config.default_service(to(elsewhere));
    }
}

/// Answers for all other paths: 200 to OPTIONS, because some load balancers probe by `OPTIONS *`, otherwise 404.
async fn elsewhere(request: HttpRequest) -> HttpResponse {
    let is_options = request.method() == Method::OPTIONS;
    let mut answer = if is_options { HttpResponse::Ok() } else { HttpResponse::NotFound() };
    answer.insert_header((header::ALLOW, READING));
    if is_options { answer.finish() } else { answer.content_type("text/plain; charset=utf-8").body(INDEX) }
}

async fn metrics(admin: Data<Admin>, request: HttpRequest) -> HttpResponse {
    let form = Form::accepted(request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()));
    let mut answer = HttpResponse::Ok();
    answer.content_type(form.content_type());
    answer.insert_header((header::VARY, "Accept"));
    // The text of a scrape is not made for nothing.
    if request.method() == Method::HEAD {
        return answer.body(body::None::new());
    }
    answer.body(form.of(admin.metrics.render()))
}

/// Reports the version and the number of sessions, in every stage of the server.
async fn health(admin: Data<Admin>) -> HttpResponse {
    let version = version::VERSION;
    of_health(StatusCode::OK, &json!({"status": "ok", "version": version, "sessions": admin.clients.sessions()}))
}

/// Reports that this process answers. MAX is not asked: restarting maxtalk would not help a MAX that is down.
async fn live() -> HttpResponse {
    of_health(StatusCode::OK, &json!({"status": "ok"}))
}

/// Reports whether clients may be sent here: 503 with the reason while the server starts or drains.
async fn ready(admin: Data<Admin>) -> HttpResponse {
    let (status, reason) = match admin.stage.get() {
        Stage::Serving => return serving(&admin),
        Stage::Starting => ("starting", "the server starts, and accepts no clients yet"),
        Stage::Draining => ("draining", "the server drains: it opens no new sessions and closes those that it has"),
    };
    of_health(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": status, "reason": reason}))
}

/// Reports whether a server that serves reaches the other nodes of its cluster, and hears what MAX announces. Without
/// them it serves the clients that it has, so only `cluster.required` makes it unready.
fn serving(admin: &Admin) -> HttpResponse {
    let reason = |what: &str, status| match status {
        bus::Status::Up => None,
        bus::Status::Down { why, .. } => Some(format!("{what}: {why}")),
    };
    let bus = admin.bus.as_ref().and_then(|bus| reason("the bus of the cluster", bus.status()));
    let feed = admin.feed.as_ref().and_then(|feed| reason("the feed of MAX", feed.status()));
    let is_required = bus.is_some() && admin.config.get().cluster.required;
    let reasons: Vec<_> = bus.into_iter().chain(feed).collect();
    if reasons.is_empty() {
        return of_health(StatusCode::OK, &json!({"status": "ok"}));
    }
    let status = if is_required { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    of_health(status, &json!({"status": "degraded", "reason": reasons.join("; ")}))
}

fn of_health(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    HttpResponse::build(status).json(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::guard::Guard;
    use actix_web::{App, test};

    #[actix_rt::test]
    async fn a_server_is_ready_only_while_it_serves() {
        let admin = Data::new(Admin::of_idle_server(Guard::default()));
        let stage = admin.stage.clone();
        let app = test::init_service(App::new().configure(mount(admin))).await;
        for (entered, status, word, begin) in [
            (Stage::Starting, 503, "starting", "the server starts"),
            (Stage::Serving, 200, "ok", ""),
            (Stage::Draining, 503, "draining", "the server drains"),
        ] {
            stage.advance(entered);
            let answer = test::call_service(&app, test::TestRequest::get().uri("/health/ready").to_request()).await;
            assert_eq!(answer.status().as_u16(), status);
            let body: serde_json::Value = test::read_body_json(answer).await;
            let reason = body["reason"].as_str().unwrap_or_default();
            assert!(body["status"] == word && reason.starts_with(begin), "{body}");
            for path in ["/health/live", "/health"] {
                let answer = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
                assert_eq!(answer.status().as_u16(), 200, "{path}");
            }
        }
    }
}
