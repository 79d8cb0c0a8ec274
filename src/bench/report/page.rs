//! The report as one self-contained HTML page, to be opened from a file, sent and printed. All text that is not a
//! constant passes through `escape`.

use super::chart::{Chart, Format, Tone};
use super::sheet::{Figure, Grid, Sheet};

/// Returns the page, which is also well-formed XML.
pub fn page(sheet: &Sheet) -> String {
    let verdicts = sheet.verdicts.iter().map(|verdict| {
        let class = if verdict.good { "verdict good" } else { "verdict bad" };
        element("p", class, &escape(&verdict.text))
    });
    let circumstances = sheet.circumstances.iter();
    let circumstances = circumstances.map(|(name, text)| element("dt", "", name) + &element("dd", "", &escape(text)));
    let figures = sheet.figures.iter().map(|Figure { name, value, more }| {
        let parts = [("value", value), ("name", name), ("more", more)];
        element("li", "", &parts.map(|(class, text)| element("span", class, &escape(text))).concat())
    });
    let head = [
        "<meta charset=\"utf-8\"/>\n".to_owned(),
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n".to_owned(),
        "<meta name=\"color-scheme\" content=\"light dark\"/>\n".to_owned(),
        element("title", "", &escape(&sheet.title)),
        element("style", "", &format!("{STYLE}{}", tones())),
    ];
    let (wide, narrow) = sheet.grids.iter().partition::<Vec<_>, _>(|grid| grid.columns.len() > 3);
    let narrow = narrow.into_iter().map(grid).collect::<String>();
    let wide = wide.into_iter().chain(&sheet.details).map(grid).collect();
    let all = element("summary", "", "All figures as JSON") + &element("pre", "", &escape(&sheet.json));
    let body = [
        element("h1", "", &escape(&sheet.title)),
        verdicts.collect(),
        element("ul", "figures", &figures.collect::<String>()),
        section("Run", &element("dl", "", &circumstances.collect::<String>())),
        if narrow.is_empty() { narrow } else { element("div", "narrow", &narrow) },
        sheet.charts.iter().map(figure).collect(),
        wide,
        element("details", "", &all),
    ];
    let (head, body) = (element("head", "", &head.concat()), element("body", "", &element("main", "", &body.concat())));
    format!("<!DOCTYPE html>\n<html lang=\"en\">\n{head}{body}</html>\n")
}

/// Returns an element around markup. The class may be empty.
fn element(name: &str, class: &str, markup: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<{name}{class}>{markup}</{name}>\n")
}

fn section(title: &str, markup: &str) -> String {
    element("section", "", &(element("h2", "", &escape(title)) + markup))
}

/// Returns text as it may stand in an element or an attribute, without characters that no document may contain.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn figure(chart: &Chart) -> String {
    let svg = |format, class: &str| chart.svg(format).map(|svg| element("div", class, &svg));
    let (Some(wide), Some(small)) = (svg(Format::Wide, "wide"), svg(Format::Narrow, "small")) else {
        return String::new();
    };
    let key = chart.series.iter().filter(|series| !series.points.is_empty());
    let key = key.map(|series| {
        let swatch = element("i", &format!("tone-{:?} shape-{:?}", series.tone, series.shape), "");
        element("span", "", &(swatch + &escape(&series.name)))
    });
    let caption = element("figcaption", "", &escape(&chart.caption));
    let key = element("p", "key", &key.collect::<String>());
    // A reader who moves by keyboard stops at each chart.
    let title = escape(&chart.title);
    let figure = format!("<figure tabindex=\"0\" aria-label=\"{title}\">{key}{wide}{small}{caption}</figure>\n");
    section(&chart.title, &figure)
}

fn grid(grid: &Grid) -> String {
    let cell = |name: &str, text: &str| element(name, "", &escape(text));
    let columns = grid.columns.iter().map(|column| cell("th", column)).collect::<String>();
    let head = element("thead", "", &element("tr", "", &(element("td", "", "") + &columns)));
    let rows = grid.rows.iter().map(|row| {
        // Missing cells are filled up, so that the line below the row is complete.
        let cells = (0..grid.columns.len()).map(|at| cell("td", row.cells.get(at).map_or("", String::as_str)));
        let cells = cell("th", &row.label) + &cells.collect::<String>();
        element("tr", if row.fault { "fault" } else { "" }, &cells)
    });
    let table = element("table", "", &(head + &element("tbody", "", &rows.collect::<String>())));
    let mut title = grid.title.clone();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    // Without a stop here, a table that is too wide could not be moved by keyboard.
    let label = escape(&title);
    let scroll = format!("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{label}\">{table}</div>\n");
    section(&title, &scroll)
}

/// Returns the colours of the charts. plotters writes them as attributes, which these rules override.
fn tones() -> String {
    let light = Tone::ALL.map(|tone| format!(".tone-{tone:?}{{background:{}}}", tone.on_white()));
    let dark = Tone::ALL.map(|tone| {
        let (white, dark) = (tone.on_white(), tone.on_dark());
        let key = format!(".tone-{tone:?}{{background:{dark}}}");
        format!("{key}svg [fill=\"{white}\"]{{fill:{dark}}}svg [stroke=\"{white}\"]{{stroke:{dark}}}")
    });
    format!("{}\n@media screen and (prefers-color-scheme:dark){{{}}}\n", light.join("\n"), dark.join("\n"))
}

const STYLE: &str = "
:root{--ink:#1c2128;--soft:#57606a;--line:#d8dee4;--back:#f6f7f9;--card:#fff;--good:#1a7f37;--bad:#cf222e;
--focus:#0b63ce}
@media screen and (prefers-color-scheme:dark){
:root{--ink:#e6e9ed;--soft:#9da7b3;--line:#2c333b;--back:#0f1317;--card:#171c22;--good:#4fc06a;--bad:#f5706a;
--focus:#5ba4f5}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:980px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:22px;line-height:1.3;margin:0 0 12px;overflow-wrap:anywhere}
h2{font-size:15px;margin:0 0 8px}
.verdict{margin:6px 0;padding:8px 12px;border-left:4px solid;background:var(--card);overflow-wrap:anywhere}
.good{border-color:var(--good)}.bad{border-color:var(--bad);color:var(--bad);font-weight:600}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0 16px;padding:0;list-style:none}
.figures li,section,details{background:var(--card);border:1px solid var(--line);border-radius:8px}
.figures li{flex:1 1 165px;padding:12px 14px}
.figures span{display:block}
.value{font-size:26px;line-height:1.2;font-weight:600;font-variant-numeric:tabular-nums}
.more{color:var(--soft);font-size:13px;overflow-wrap:anywhere}
section,details{margin:0 0 16px;padding:16px 18px}
figure{margin:0}
figure svg{display:block;width:100%;height:auto}
.small{display:none}
:focus-visible{outline:3px solid var(--focus);outline-offset:3px;border-radius:2px}
svg text{font-family:system-ui,sans-serif}
.key{margin:0 0 6px;display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px}
.key i{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:7px;vertical-align:middle}
.key .shape-Rule{width:0;height:14px;border-left:2px dashed var(--soft);border-radius:0;background:none}
.key .shape-Rings{width:12px;height:12px;border:2px solid var(--soft);border-radius:50%;background:none}
figcaption{color:var(--soft);font-size:13px;margin-top:6px}
.narrow{columns:2 330px;column-gap:16px;margin-bottom:16px}
.narrow section{break-inside:avoid}
.narrow section:last-child{margin-bottom:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:4px 0 4px 16px;text-align:right;font-weight:400;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;overflow-wrap:break-word}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--soft);font-size:13px}
.fault>*{color:var(--bad);font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
summary{cursor:pointer}
pre{overflow-x:auto;font-size:12px}
@media screen and (max-width:640px){
main{padding:16px 12px 32px}
h1{font-size:19px}
section,details{padding:12px}
.figures li{flex-basis:130px}
.value{font-size:22px}
dl{grid-template-columns:1fr}
dd{margin:0 0 6px}
.wide{display:none}
.small{display:block}
}
@media print{
:root{color-scheme:light}
body{background:none;font-size:10pt}
main{max-width:none;padding:0}
section,.figures li{break-inside:avoid}
details{display:none}
*{print-color-adjust:exact}}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::{Report, samples};
    use crate::bench::printable::printable;
    use crate::bench::report;

    fn page(report: &Report) -> String {
        super::page(&report::of_run(report))
    }

    fn document(page: &str) -> roxmltree::Document<'_> {
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        roxmltree::Document::parse_with_options(page, options).unwrap()
    }

    #[test]
    fn a_page_is_well_formed_and_needs_nothing_else() {
        for report in [samples::good(), samples::searched(), samples::faulty(), samples::empty()] {
            let page = page(&report);
            for node in document(&page).descendants().filter(roxmltree::Node::is_element) {
                assert!(!["script", "link", "img", "iframe", "image", "use"].contains(&node.tag_name().name()));
                let loads = |name| ["src", "href", "style", "onload"].contains(&name);
                assert!(!node.attributes().any(|attribute| loads(attribute.name())), "{node:?}");
            }
            assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("NaN"));
        }
    }

    #[test]
    fn a_phone_and_a_keyboard_are_enough() {
        let page = page(&samples::searched());
        let document = document(&page);
        let all = |name: &str| {
            let is_it = |node: &roxmltree::Node<'_, '_>| {
                node.tag_name().name() == name || node.attribute("class") == Some(name)
            };
            document.descendants().filter(is_it).collect::<Vec<_>>()
        };
        let (figures, tables, drawings) = (all("figure"), all("scroll"), all("svg"));
        assert_eq!((figures.len(), drawings.len()), (6, 12));
        for stop in figures.into_iter().chain(tables) {
            assert_eq!((stop.attribute("tabindex"), stop.attribute("aria-label").is_some()), (Some("0"), true));
        }
        for drawing in drawings {
            let size = ["width", "height"].map(|name| drawing.attribute(name));
            assert_eq!((size, drawing.attribute("viewBox").is_some()), ([None, None], true), "it fits");
        }
        let narrow = all("small").iter().filter(|node| node.tag_name().name() == "div").count();
        assert_eq!((narrow, all("wide").len()), (6, 6));
    }

    #[test]
    fn what_comes_from_outside_stays_text() {
        let report = samples::faulty();
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains("</title><") && !page.contains('\u{1b}'));
        let document = document(&page);
        let text = |name: &str| {
            let node = document.descendants().find(|node| node.tag_name().name() == name).unwrap();
            node.text().unwrap_or_default().to_owned()
        };
        let url = printable(&report.circumstances.url, 120);
        assert!(text("title").starts_with("10,000 connections in 1,000 conversations, the highest rate with </title>"));
        assert!(text("title").ends_with(&format!(": maxtalk bench of {url}")), "{}", text("title"));
        assert!(text("title").ends_with("<script>alert(\"1\")</script>&'\u{fffd}[31m\u{fffd}"));
    }

    #[test]
    fn verdicts_and_faults_are_marked() {
        let good = page(&samples::good());
        assert_eq!((good.matches("verdict good").count(), good.matches("verdict bad").count()), (2, 0));
        assert!(!good.contains("<tr class=\"fault\">"));
        let bad = page(&samples::faulty());
        assert_eq!((bad.matches("verdict good").count(), bad.matches("verdict bad").count()), (0, 3));
        assert_eq!(bad.matches("<tr class=\"fault\">").count(), 6);
    }

    #[test]
    fn each_chart_is_drawn_in_colours_that_turn_with_the_scheme() {
        let page = page(&samples::searched());
        let document = document(&page);
        let within = |node: &roxmltree::Node<'_, '_>| node.ancestors().any(|node| node.tag_name().name() == "svg");
        let drawn = document.descendants().filter(within).collect::<Vec<_>>();
        // Each is there for a wide and for a narrow window.
        assert_eq!(drawn.iter().filter(|node| node.tag_name().name() == "svg").count(), 2 * 6);
        let colors = drawn.iter().flat_map(|node| [node.attribute("fill"), node.attribute("stroke")]).flatten();
        for color in colors.filter(|color| *color != "none") {
            assert!(Tone::ALL.iter().any(|tone| tone.on_white() == color), "{color}");
        }
    }
}
