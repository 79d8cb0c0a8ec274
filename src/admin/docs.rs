//! The pages of the documentation as HTML.

use actix_web::body::MessageBody;
use actix_web::http::header::LOCATION;
use actix_web::web::{Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::answers::{file, read_only};
use crate::docs::{self, PAGES, PICTURES};
use crate::version;

/// The pages load their style and their pictures.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = include_str!("pages/docs.css");

/// Mounts the list, the pages, their style and their pictures.
pub fn mount(config: &mut ServiceConfig) {
    config.service(read_only("/docs", moved)).service(read_only("/docs/", list));
    config.service(read_only("/docs/docs.css", || async { answer("text/css; charset=utf-8", STYLE) }));
    config.service(read_only("/docs/{name}", page));
}

/// Leads to the list, whose links are below `/docs/`.
async fn moved() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish()
}

async fn list() -> HttpResponse {
    let row = |page: &docs::Page| format!("| [{}]({}) | {} |\n", page.name, page.name, page.about);
    let rows: String = PAGES.iter().map(row).collect();
    let title = format!("# maxtalk {}", version::VERSION);
    html_of("Documentation", &format!("{title}\n\n| page | says |\n| --- | --- |\n{rows}"))
}

async fn page(name: Path<String>, request: HttpRequest) -> HttpResponse {
    if let Some((_, picture)) = PICTURES.iter().find(|(picture, _)| *picture == *name) {
        return answer("image/svg+xml", *picture);
    }
    match docs::find(&name) {
        Some(page) => html_of(page.name, page.text),
        None => {
            let names = PAGES.iter().map(|page| page.name).collect::<Vec<_>>().join(", ");
            let refusal = format!("{}: there is no such page. The pages are {names}.\n", request.path());
            HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(refusal)
        }
    }
}

fn answer(content_type: &str, content: impl MessageBody + 'static) -> HttpResponse {
    file(content_type, POLICY, content)
}

fn html_of(title: &str, markdown: &str) -> HttpResponse {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title} · maxtalk</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/docs/docs.css\">\
         <link rel=\"icon\" href=\"/favicon.svg\"><nav><a href=\"/\">Dashboard</a> <a href=\"/docs/\">Pages</a></nav>\
         <main>{}</main></html>\n",
        rendered(markdown)
    );
    answer("text/html; charset=utf-8", page)
}

/// Returns the HTML of a page. Its headings get the anchors that GitHub gives them.
fn rendered(markdown: &str) -> String {
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let mut heading = None;
    let mut anchor = String::new();
    for at in 0..events.len() {
        match &events[at] {
            Event::Start(Tag::Heading { level, .. }) => heading = Some((at, *level)),
            Event::Text(text) | Event::Code(text) if heading.is_some() => {
                let kept = text.chars().map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase);
                anchor.extend(kept.filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')));
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((start, level)) = heading.take() {
                    events[start] = start_of(level, std::mem::take(&mut anchor));
                }
            }
            _ => {}
        }
    }
    let mut page = String::new();
    html::push_html(&mut page, events.into_iter());
    page
}

fn start_of<'a>(level: HeadingLevel, anchor: String) -> Event<'a> {
    let id = Some(CowStr::from(anchor));
    Event::Start(Tag::Heading { level, id, classes: Vec::new(), attrs: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, web};

    #[actix_rt::test]
    async fn pages_are_served_with_their_links_and_pictures() {
        let app = init_service(App::new().configure(mount).default_service(web::to(HttpResponse::NotFound))).await;
        let get = async |path: &str| {
            let answer = call_service(&app, TestRequest::get().uri(path).to_request()).await;
            let status = answer.status();
            (status, String::from_utf8(read_body(answer).await.to_vec()).unwrap())
        };
        let (status, list) = get("/docs/").await;
        assert_eq!(status, StatusCode::OK);
        for page in PAGES {
            assert!(list.contains(&format!("<a href=\"{}\">", page.name)), "{list}");
            let (status, text) = get(&format!("/docs/{}", page.name)).await;
            assert_eq!(status, StatusCode::OK);
            let links = text.split("href=\"").skip(1).chain(text.split("src=\"").skip(1));
            for link in links.filter_map(|rest| rest.split('"').next()) {
                let path = link.split('#').next().unwrap_or_default();
                if path.is_empty() || path.starts_with("http") || path.starts_with('/') {
                    continue;
                }
                assert_eq!(get(&format!("/docs/{path}")).await.0, StatusCode::OK, "{}: {link}", page.name);
            }
        }
        let (_, settings) = get("/docs/settings").await;
        assert!(settings.contains("id=\"while-the-server-runs\"") && settings.contains("<table>"), "{settings}");
        let (status, text) = get("/docs/nothing").await;
        assert!(status == StatusCode::NOT_FOUND && text.contains("settings"), "{text}");
    }
}
