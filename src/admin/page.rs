//! The page of the dashboard, from memory. Its files need no key, because they hold no data; all of it comes by the API
//! and the WebSocket.

use actix_web::body::MessageBody;
use actix_web::http::header::{ACCEPT, HeaderMap, HeaderValue, VARY};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::answers::{file, read_only};
use super::state::Admin;

/// The page loads its own files and calls its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The part of the page that takes the token.
const TOKEN: &str = r#"<meta name="maxtalk-dashboard" content="">"#;

/// The page itself.
const PAGE: &str = include_str!("pages/dashboard.html");

/// The text at `/` for clients that are no browsers.
pub const INDEX: &str = "Here are /metrics, /health/live, /health/ready, and the API: see /api/v1/openapi.json and \
                         /docs/operating. Browsers get a dashboard at /.\n";

/// The content type of the modules.
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The path, the content type and the content of each other file.
const FILES: [(&str, &str, &str); 17] = [
    ("/dashboard.css", "text/css; charset=utf-8", include_str!("pages/dashboard.css")),
    ("/favicon.svg", "image/svg+xml", include_str!("pages/favicon.svg")),
    ("/cluster.js", JAVASCRIPT, include_str!("pages/cluster.js")),
    ("/dashboard.js", JAVASCRIPT, include_str!("pages/dashboard.js")),
    ("/dom.js", JAVASCRIPT, include_str!("pages/dom.js")),
    ("/drawer.js", JAVASCRIPT, include_str!("pages/drawer.js")),
    ("/format.js", JAVASCRIPT, include_str!("pages/format.js")),
    ("/glance.js", JAVASCRIPT, include_str!("pages/glance.js")),
    ("/history.js", JAVASCRIPT, include_str!("pages/history.js")),
    ("/limits.js", JAVASCRIPT, include_str!("pages/limits.js")),
    ("/lists.js", JAVASCRIPT, include_str!("pages/lists.js")),
    ("/live.js", JAVASCRIPT, include_str!("pages/live.js")),
    ("/mailbox.js", JAVASCRIPT, include_str!("pages/mailbox.js")),
    ("/plot.js", JAVASCRIPT, include_str!("pages/plot.js")),
    ("/system.js", JAVASCRIPT, include_str!("pages/system.js")),
    ("/table.js", JAVASCRIPT, include_str!("pages/table.js")),
    ("/warnings.js", JAVASCRIPT, include_str!("pages/warnings.js")),
];

/// Mounts the files of the page, without the page itself.
pub fn mount(config: &mut ServiceConfig) {
    for (path, content_type, content) in FILES {
        config.service(read_only(path, move || async move { answer(content_type, content) }));
    }
}

/// Answers at `/`: the page for browsers, a list of paths for others.
pub async fn index(admin: Data<Admin>, request: HttpRequest) -> HttpResponse {
    let mut answer = if takes_html(request.headers()) {
        let token = admin.guard.dashboard.as_ref().map_or("", |token| token.reveal());
        let here = TOKEN.replace("\"\"", &format!("\"{token}\""));
        answer("text/html; charset=utf-8", PAGE.replace(TOKEN, &here))
    } else {
        HttpResponse::Ok().body(INDEX)
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// Returns whether a client asks for HTML by its name, as browsers do.
fn takes_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

fn answer(content_type: &str, content: impl MessageBody + 'static) -> HttpResponse {
    file(content_type, POLICY, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_its_token() {
        assert_eq!(PAGE.matches(TOKEN).count(), 1);
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let texts = FILES.iter().map(|(_, _, content)| *content).chain([PAGE]);
        let quoted = texts.flat_map(|text| text.split('"').skip(1).step_by(2));
        let named = quoted.filter_map(|name| {
            let file = name.strip_prefix("./").unwrap_or(name);
            [".js", ".css", ".svg"].iter().any(|ending| file.ends_with(ending)).then_some(file)
        });
        let named: std::collections::BTreeSet<_> = named.collect();
        assert!(named.len() > 10, "{named:?}");
        for file in named {
            assert!(FILES.iter().any(|(path, ..)| path.strip_prefix('/') == Some(file)), "{file}");
        }
    }
}
