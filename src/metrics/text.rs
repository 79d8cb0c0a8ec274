//! The two text forms of `/metrics`: OpenMetrics 1.0, and the older text format 0.0.4 that every scraper knows. The
//! header `Accept` of a request decides between them. Pure.

/// A text form of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// Returns the form for a request with these values of `Accept`: OpenMetrics if they name it and do not prefer
    /// plain text, otherwise the text format. Of two forms with the same quality, the one that is named first is
    /// preferred.
    pub fn accepted<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges = accept.into_iter().flat_map(|value| value.split(','));
        let ranges = ranges.enumerate().filter_map(|(at, range)| Some((named(range)?, quality(range), at)));
        let ranges = ranges.collect::<Vec<_>>();
        let best = |name: Named| {
            // Of two ranges with the same quality, the earlier one ranks higher.
            let ranked = ranges.iter().filter(|range| range.0 == name).map(|range| (range.1, usize::MAX - range.2));
            ranked.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        };
        let Some(openmetrics) = best(Named::OpenMetrics).filter(|(quality, _)| *quality > 0.0) else {
            return Self::Text;
        };
        // A wildcard stands for plain text if no range names that. It ranks below OpenMetrics of the same quality.
        let text = match best(Named::Text) {
            Some(text) => text,
            None => best(Named::Anything).map_or((0.0, 0), |(quality, _)| (quality, 0)),
        };
        if text > openmetrics { Self::Text } else { Self::OpenMetrics }
    }

    /// Returns the value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Turns `openmetrics`, a text without exemplars and timestamps, into this form.
    pub fn of(self, openmetrics: String) -> String {
        match self {
            Self::Text => text_of(&openmetrics),
            Self::OpenMetrics => openmetrics,
        }
    }
}

/// The forms that a media range of `Accept` names.
#[derive(Clone, Copy, PartialEq)]
enum Named {
    OpenMetrics,
    Text,
    /// `text/*` or `*/*`.
    Anything,
}

fn named(range: &str) -> Option<Named> {
    let media_type = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (media_type.as_str(), parameter(range, "version")) {
        ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Some(Named::OpenMetrics),
        ("text/plain", None | Some("0.0.4")) => Some(Named::Text),
        ("text/*" | "*/*", _) => Some(Named::Anything),
        _ => None,
    }
}

/// Returns the quality of a media range, from 0 to 1. An invalid one counts as 1, as if it were absent.
fn quality(range: &str) -> f64 {
    let quality = parameter(range, "q").and_then(|quality| quality.parse().ok());
    quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0)
}

fn parameter<'a>(range: &'a str, name: &str) -> Option<&'a str> {
    let mut parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let value = parameters.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?.1;
    Some(value.trim().trim_matches('"'))
}

/// Turns OpenMetrics into the text format. OpenMetrics names the family of a counter without `_total` and that of an
/// info without `_info`, and has lines for units and for its end. In the text format, a family has the name of its
/// rows.
fn text_of(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 8);
    // The line of the help comes before that of the type. Both are written when the type is known, because the name of
    // the family depends on it.
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let help = help.take().unwrap_or_default();
            text += &format!("# HELP {family}{suffix} {help}\n# TYPE {family}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_preferred_one_and_text_in_doubt() {
        let table = [
            ("", Form::Text),
            (",", Form::Text),
            ("*/*", Form::Text),
            ("text/plain", Form::Text),
            ("application/openmetrics-text", Form::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1", Form::OpenMetrics),
            ("application/openmetrics-text; version=0.0.1", Form::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
            ("application/openmetrics-text;q=0.000, */*", Form::Text),
            ("application/openmetrics-text;q=x", Form::OpenMetrics),
            ("application/openmetrics-text, text/plain", Form::OpenMetrics),
            ("text/plain, application/openmetrics-text", Form::Text),
            ("*/*, application/openmetrics-text", Form::OpenMetrics),
            ("*/*, application/openmetrics-text;q=0.9", Form::Text),
            ("text/plain;q=0.2, */*, application/openmetrics-text;q=0.3", Form::OpenMetrics),
            ("text/plain;version=0.0.4;q=0, application/openmetrics-text;q=0.1", Form::OpenMetrics),
            ("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", Form::OpenMetrics),
            ("application/openmetrics-text;q=0.1, application/openmetrics-text;q=0.6, text/plain;q=0.5", {
                Form::OpenMetrics
            }),
            ("application/*", Form::Text),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.6,*/*;q=0.2", Form::Text),
        ];
        for (accept, form) in table {
            assert_eq!(Form::accepted([accept]), form, "{accept}");
        }
        assert_eq!(Form::accepted([]), Form::Text);
        assert_eq!(Form::accepted(["text/plain;q=0.1", "application/openmetrics-text;q=0.2"]), Form::OpenMetrics);
    }

    #[test]
    fn families_are_called_like_their_rows() {
        let openmetrics = "\
# HELP a_joins Joins # of all.
# TYPE a_joins counter
a_joins_total{result=\"# EOF\"} 1
# HELP a_wait_seconds Waits.
# TYPE a_wait_seconds histogram
# UNIT a_wait_seconds seconds
a_wait_seconds_sum 0.5
a_wait_seconds_count 1
a_wait_seconds_bucket{le=\"+Inf\"} 1
# HELP a_build The version.
# TYPE a_build info
a_build_info{version=\"1\"} 1
# HELP a_thing What it is.
# TYPE a_thing unknown
a_thing 3
# EOF
";
        let text = "\
# HELP a_joins_total Joins # of all.
# TYPE a_joins_total counter
a_joins_total{result=\"# EOF\"} 1
# HELP a_wait_seconds Waits.
# TYPE a_wait_seconds histogram
a_wait_seconds_sum 0.5
a_wait_seconds_count 1
a_wait_seconds_bucket{le=\"+Inf\"} 1
# HELP a_build_info The version.
# TYPE a_build_info gauge
a_build_info{version=\"1\"} 1
# HELP a_thing What it is.
# TYPE a_thing untyped
a_thing 3
";
        assert_eq!(Form::Text.of(openmetrics.to_owned()), text);
        assert_eq!(Form::OpenMetrics.of(openmetrics.to_owned()), openmetrics);
    }
}
