//! The headers of every answer of the admin listener, which say how little a browser may do with it, the answers of
//! files, and those by method of paths that can only be read.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{get, head, method, resource, to};
use actix_web::{FromRequest, Handler, HttpResponse, Resource};

/// The headers, unless an answer has its own. Nothing is loaded, framed or kept, and no page of another origin may
/// embed an answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Middleware that adds the headers.
///
/// # Errors
/// Those of `next`.
pub async fn with_headers<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut answer = next.call(request).await?;
    for (name, value) in HEADERS {
        if !answer.headers().contains_key(&name) {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(answer)
}

/// Returns the answer of a file that may load what the policy says. A browser loads the files of a page by six
/// connections, which would stay open although the listener has few: so they are closed.
pub fn file(content_type: &str, policy: &'static str, content: impl MessageBody + 'static) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.content_type(content_type).insert_header((CONTENT_SECURITY_POLICY, policy)).force_close();
    answer.body(content)
}

/// The methods that the paths without side effects take.
pub const READING: &str = "GET, HEAD, OPTIONS";

/// Returns a resource that can only be read. It takes HEAD and OPTIONS besides GET, because load balancers probe by any
/// of them.
pub fn read_only<Args>(path: &str, handler: impl Handler<Args, Output = HttpResponse>) -> Resource
where
    Args: FromRequest + 'static,
{
    let allowed = |status| async move { HttpResponse::build(status).insert_header((ALLOW, READING)).finish() };
    resource(path)
        .route(get().to(handler.clone()))
        .route(head().to(handler))
        .route(method(Method::OPTIONS).to(move || allowed(StatusCode::OK)))
        .default_service(to(move || allowed(StatusCode::METHOD_NOT_ALLOWED)))
}
