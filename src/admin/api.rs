//! The API at `/api/v1/`: the table of its routes, and the checks before the handler of a request runs. Each route of
//! the table is mounted, and is described in the OpenAPI document.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Data, Json, PathConfig, PayloadConfig, QueryConfig, ServiceConfig, resource, route, scope, to};
use actix_web::{HttpResponse, ResponseError as _, Scope, guard};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::ApiError;
use super::guard::{Asked, Right};
use super::model::announce::RelayWish;
use super::model::{FaultCode, Refusal};
use super::refusals::Refusals;
use super::settings;
use super::shown::asker;
use super::state::Admin;
use super::{announce, cluster, conversations, drain, overview, sessions, status};
use crate::logging::log_refusal;

/// Largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A path of the API.
#[derive(Debug)]
pub struct Route {
    /// The path, with its variable parts in braces.
    pub path: &'static str,
    /// The right that it asks for.
    right: Right,
    /// The methods that it takes.
    pub methods: &'static [&'static str],
}

macro_rules! routes {
    ($($path:literal $right:ident { $($method:ident $room:ident::$handler:ident),+ })+) => {
        /// All paths of the API.
        pub const ROUTES: &[Route] = &[$(Route {
            path: concat!("/api/v1", $path),
            right: Right::$right,
            methods: &[$(stringify!($method)),+],
        },)+];

        /// The OpenAPI document.
        #[derive(OpenApi)]
        #[openapi(
            info(title = "maxtalk", description = "The API of a maxtalk server, for operators and back ends."),
            paths($($($room::$handler),+),+),
            components(schemas(Refusal, RelayWish)),
            modifiers(&Keys),
            security(("key" = [])),
        )]
        struct Document;

        /// Mounts the paths of the API.
        pub fn mount(config: &mut ServiceConfig) {
            let mut routes = ROUTES.iter();
            let mut api = scope("/api/v1");
            $(
                if let Some(row) = routes.next() {
                    let path = resource($path)
                        $(.route(of(stringify!($method)).to($room::$handler)))+
                        .default_service(to(move || wrong_method(row)))
                        .wrap(from_fn(move |request, next| pass(row, request, next)));
                    api = api.service(path);
                }
            )+
            config.service(extractors(api).default_service(to(nothing)));
        }
    };
}

routes! {
    "/openapi.json" Operate { get self::document }
    "/status" Operate { get status::show }
    "/sessions" Operate { get sessions::top }
    "/sessions/{id}" Operate { get sessions::one }
    "/sessions/{id}/close" Operate { post sessions::close }
    "/users/{username}/sessions" Operate { get sessions::of_user }
    "/users/{username}/close" Operate { post sessions::close_of_user }
    "/closed" Operate { get sessions::closed }
    "/conversations" Operate { get conversations::top }
    "/conversations/{id}" Operate { get conversations::one }
    "/conversations/{id}/updates" Announce { post announce::one }
    "/updates" Announce { post announce::many }
    "/users/{username}/refresh" Announce { post sessions::refresh }
    "/settings" Operate { get settings::show, patch settings::change }
    "/overview" Operate { get overview::show }
    "/mailboxes" Operate { get overview::mailboxes }
    "/max" Operate { get overview::max }
    "/cluster" Operate { get cluster::show }
    "/drain" Operate { post drain::begin }
}

/// Adds the key to the OpenAPI document.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("key", key);
    }
}

/// Describes the API as OpenAPI.
#[utoipa::path(get, path = "/api/v1/openapi.json",
    responses((status = 200, description = "The document.", content_type = "application/json"), Refusals))]
async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// Lets the bodies, queries and paths that do not fit be refused in the one shape.
fn extractors(api: Scope) -> Scope {
    api.app_data(PayloadConfig::new(BODY_BYTES_MAX))
        .app_data(QueryConfig::default().error_handler(|error, _| ApiError::of_query(&error).into()))
        .app_data(PathConfig::default().error_handler(|error, _| ApiError::of_path(&error).into()))
}

/// Returns an empty route for a method. That for `get` takes HEAD too.
fn of(method: &str) -> actix_web::Route {
    match method {
        "get" => route().guard(guard::Any(guard::Get()).or(guard::Head())),
        "post" => route().guard(guard::Post()),
        "patch" => route().guard(guard::Patch()),
        _ => route().guard(guard::fn_guard(|_| false)),
    }
}

/// Lets a request through to its handler if the guard does.
async fn pass<B: MessageBody + 'static>(
    row: &'static Route,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let changes = row.takes(request.method()) && !request.method().is_safe();
    let asked = asked(request.headers(), changes);
    let checked = match request.app_data::<Data<Admin>>() {
        Some(admin) => admin.guard.check(&asked, row.right),
        None => Err((FaultCode::Forbidden, "the API has no keys")),
    };
    match checked {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err((code, message)) => {
            let asker = asker(request.request());
            log_refusal(Instant::now(), format_args!("a request of {asker} for {} refused: {message}", row.path));
            Ok(request.into_response(ApiError::new(code, message).error_response()).map_into_right_body())
        }
    }
}

/// Reads the headers that the guard looks at. `changes` says whether the method may change something.
pub fn asked(headers: &HeaderMap, changes: bool) -> Asked<'_> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    Asked {
        host: text(header::HOST),
        origin: text(header::ORIGIN),
        authorization: text(header::AUTHORIZATION),
        content_type: text(header::CONTENT_TYPE),
        fetch_site: text(HeaderName::from_static("sec-fetch-site")),
        dashboard: text(HeaderName::from_static("x-maxtalk-dashboard")),
        changes,
    }
}

async fn wrong_method(row: &'static Route) -> HttpResponse {
    let allowed = row.allowed();
    let mut answer = ApiError::new(FaultCode::MethodNotAllowed, format!("this path takes {allowed}")).error_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

async fn nothing() -> HttpResponse {
    ApiError::not_found("path; /api/v1/openapi.json describes those there are").error_response()
}

impl Route {
    fn takes(&self, method: &Method) -> bool {
        self.methods.iter().any(|taken| method.as_str().eq_ignore_ascii_case(taken))
    }

    /// Returns the methods as the header `Allow` lists them.
    fn allowed(&self) -> String {
        let names =
            self.methods.iter().map(|method| if *method == "get" { "GET, HEAD".into() } else { method.to_uppercase() });
        names.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::guard::Guard;
    use crate::event::Token;
    use actix_web::App;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The operations of the document: path and method.
    fn described() -> BTreeSet<(String, String)> {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        });
        operations.collect()
    }

    #[test]
    fn the_document_describes_every_route_and_no_other() {
        let mounted = ROUTES
            .iter()
            .flat_map(|route| route.methods.iter().map(|method| (route.path.to_owned(), (*method).to_owned())));
        assert_eq!(described(), mounted.collect());
    }

    #[actix_rt::test]
    async fn every_route_asks_for_its_key_and_refuses_in_one_shape() {
        let keys = Guard { token: Some(Token::from("operator")), announce_token: None, dashboard: None };
        let admin = Data::new(Admin::of_idle_server(keys));
        let app = init_service(App::new().app_data(admin).configure(mount)).await;
        for (path, method) in described() {
            let path = path.replace("{id}", "1").replace("{username}", "u");
            let ask = |method: &str| TestRequest::with_uri(&path).method(method.to_uppercase().parse().unwrap());
            for (request, status, code) in [
                (ask(&method), StatusCode::UNAUTHORIZED, "unauthorized"),
                (ask(&method).insert_header(("Origin", "http://evil.example")), StatusCode::FORBIDDEN, "forbidden"),
                (
                    ask("DELETE").insert_header(("Authorization", "Bearer operator")),
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                ),
            ] {
                let answer = call_service(&app, request.insert_header(("Host", "x")).to_request()).await;
                assert_eq!(answer.status(), status, "{method} {path}");
                let allow = answer.headers().get("allow").map(|allow| allow.to_str().unwrap().to_owned());
                let body: Value = read_body_json(answer).await;
                assert_eq!(body["error"]["code"], code, "{method} {path}");
                assert_eq!(allow.is_some(), status == StatusCode::METHOD_NOT_ALLOWED);
                assert!(allow.is_none_or(|allow| allow.to_lowercase().contains(&method)), "{method} {path}");
            }
            let request = ask(&method).insert_header(("Authorization", "Bearer operator"));
            let answer = call_service(&app, request.insert_header(("Host", "x")).to_request()).await;
            let expected = if method == "get" { StatusCode::OK } else { StatusCode::UNSUPPORTED_MEDIA_TYPE };
            let is_there = [expected, StatusCode::NOT_FOUND].contains(&answer.status());
            assert!(is_there, "{method} {path}: {}", answer.status());
        }
        let answer = call_service(&app, TestRequest::with_uri("/api/v1/nothing").to_request()).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let body: Value = read_body_json(answer).await;
        assert_eq!(body["error"]["code"], "not_found");
    }
}
