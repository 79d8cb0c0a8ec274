//! The pages built into the binary: a demo in which two windows chat through this server, and an inspector that joins
//! any directory and shows every packet.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, ServiceConfig, get, head, resource};

use crate::directory::demo::CONTENT_CHARS_MAX;

/// The path of the index page.
pub(super) const INDEX: &str = "/";

/// The path, the content type and the content of each file.
const FILES: &[(&str, &str, &str)] = &[
    (INDEX, "text/html; charset=utf-8", include_str!("pages/index.html")),
    ("/inspect", "text/html; charset=utf-8", include_str!("pages/inspect.html")),
    ("/demo.css", "text/css; charset=utf-8", include_str!("pages/demo.css")),
    ("/inspect.css", "text/css; charset=utf-8", include_str!("pages/inspect.css")),
    ("/theme.js", "text/javascript; charset=utf-8", include_str!("pages/theme.js")),
    ("/demo.js", "text/javascript; charset=utf-8", include_str!("pages/demo.js")),
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("pages/chat.js")),
    ("/inspect.js", "text/javascript; charset=utf-8", include_str!("pages/inspect.js")),
    ("/packets.js", "text/javascript; charset=utf-8", include_str!("pages/packets.js")),
    ("/maxtalk.js", "text/javascript; charset=utf-8", include_str!("pages/maxtalk.js")),
    ("/favicon.svg", "image/svg+xml", include_str!("pages/favicon.svg")),
];

/// The part of a page that says what this server is like. [`routes`] replaces it.
const DEFAULTS: &str =
    r#"data-path="/socket.io/" data-namespace="/max" data-demo="true" data-message-chars-max="2000""#;

/// Pages load and call only this origin. WebSockets are allowed to any host.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns whether a page or the demo MAX uses this path. No endpoint may have such a path.
pub fn takes(path: &str) -> bool {
    path.starts_with("/demo/") || FILES.iter().any(|(page, ..)| *page == path.trim_end_matches('/'))
}

/// Answers 404 at the paths where official servers serve a client script. A script from here would have the wrong
/// version for most pages.
pub async fn no_client() -> HttpResponse {
    let line = "maxtalk serves no client; take one from the npm package socket.io-client, of any version since 0.8\n";
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(line)
}

/// Mounts the pages. They contain the path of the endpoint, the namespace of the conversations, whether the demo MAX is
/// there, and the longest message that it takes.
pub fn routes(endpoint: &str, namespace: &str, has_demo: bool) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let namespace = namespace.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let place = format!(r#"data-path="{endpoint}" data-namespace="{namespace}""#);
    let here = format!(r#"{place} data-demo="{has_demo}" data-message-chars-max="{CONTENT_CHARS_MAX}""#);
    move |config| {
        for &(path, content_type, content) in FILES {
            // Each worker has these files, so only what differs from the program's own text is copied.
            let content = if content.contains(DEFAULTS) {
                content.replace(DEFAULTS, &here).into()
            } else {
                Bytes::from_static(content.as_bytes())
            };
            mount(config, path, content_type, content);
        }
    }
}

/// Mounts what the index path answers without the pages, so that load balancers may still check it.
pub fn no_pages(config: &mut ServiceConfig) {
    let answer = || async { HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("maxtalk\n") };
    config.service(resource(INDEX).route(get().to(answer)).route(head().to(answer)));
}

fn mount(config: &mut ServiceConfig, path: &'static str, content_type: &'static str, content: Bytes) {
    let serve = move || {
        let content = content.clone();
        async move {
            HttpResponse::Ok()
                .content_type(content_type)
                .insert_header((header::CACHE_CONTROL, "no-cache"))
                .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
                .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .insert_header((header::REFERRER_POLICY, "no-referrer"))
                .body(content)
        }
    };
    config.service(resource(path).route(get().to(serve.clone())).route(head().to(serve)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Code;

    #[test]
    fn each_page_has_a_place_for_what_the_server_is_like() {
        let pages: Vec<_> = FILES.iter().filter(|(_, content_type, _)| content_type.starts_with("text/html")).collect();
        assert_eq!(pages.len(), 2);
        for (path, _, content) in pages {
            assert_eq!(content.matches(DEFAULTS).count(), 1, "{path}");
        }
        assert!(DEFAULTS.contains(&format!("data-message-chars-max=\"{CONTENT_CHARS_MAX}\"")));
    }

    #[test]
    fn the_inspector_advises_about_codes_that_exist() {
        let (_, advice) = include_str!("pages/packets.js").split_once("export const ADVICE = {").unwrap();
        let (advice, _) = advice.split_once("\n};").unwrap();
        let keys: Vec<_> =
            advice.lines().filter_map(|line| Some(line.strip_prefix("  ")?.split_once(':')?.0)).collect();
        let keys: Vec<_> = keys.into_iter().filter(|key| !key.starts_with(' ')).collect();
        assert!(keys.len() > 10, "{keys:?}");
        for key in keys {
            assert!(Code::ALL.iter().any(|code| code.as_str() == key), "{key} is no code");
        }
    }

    #[test]
    fn an_endpoint_cannot_be_where_a_page_is() {
        for (path, taken) in
            [("/demo/max/", true), ("/demo.js/", true), ("/inspect/", true), ("/socket.io/", false), ("/demos/", false)]
        {
            assert_eq!(takes(path), taken, "{path}");
        }
    }
}
