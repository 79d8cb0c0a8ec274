//! Metrics as a server exposes them, in the text format of Prometheus: sums over labels, and quantiles of histograms.
//! Pure.

use std::collections::BTreeMap;

/// The label that holds the upper bound of a bucket of a histogram.
const BOUND: &str = "le";

/// The samples of one scrape. Labels that a question does not name are summed over, so that a new label of the server
/// changes no answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition(Vec<Sample>);

/// One line: a name, labels and a value.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl FromIterator<Self> for Exposition {
    /// Puts the samples of several servers together, as if they were those of one: sums are over all of them.
    fn from_iter<Servers: IntoIterator<Item = Self>>(servers: Servers) -> Self {
        Self(servers.into_iter().flat_map(|server| server.0).collect())
    }
}

impl Exposition {
    /// Reads the text of `/metrics`, in the format 0.0.4 or as OpenMetrics. Lines that are neither a sample nor a
    /// comment are left out.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the sum of all samples of this name with this label. `None` if there are none.
    pub fn sum(&self, name: &str, label: (&str, &str)) -> Option<f64> {
        self.values(name, Some(label)).reduce(|sum, value| sum + value)
    }

    /// Returns the largest of all samples of this name with this label. `None` if there are none.
    pub fn max(&self, name: &str, label: (&str, &str)) -> Option<f64> {
        self.values(name, Some(label)).reduce(f64::max)
    }

    /// Returns the sum of all samples of this name. `None` if there are none.
    pub fn total(&self, name: &str) -> Option<f64> {
        self.values(name, None).reduce(|sum, value| sum + value)
    }

    /// Returns the values of this label in all samples of this name, each once, in alphabetical order.
    pub fn labels(&self, name: &str, label: &str) -> Vec<&str> {
        let mut values = self.of(name).filter_map(|sample| sample.label(label)).collect::<Vec<_>>();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Returns the histogram of this name with this label. Empty if there is none.
    pub fn histogram(&self, name: &str, (label, value): (&str, &str)) -> Histogram {
        let mut bounds = BTreeMap::new();
        for sample in self.of(&format!("{name}_bucket")).filter(|sample| sample.label(label) == Some(value)) {
            let bound = sample.label(BOUND).and_then(|bound| bound.parse::<f64>().ok());
            if let Some(bound) = bound.filter(|bound| *bound > 0.0) {
                // Positive numbers have the order of their bits.
                bounds.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += sample.value;
            }
        }
        Histogram(bounds.into_values().collect())
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    fn values(&self, name: &str, label: Option<(&str, &str)>) -> impl Iterator<Item = f64> {
        let is_meant = move |sample: &&Sample| label.is_none_or(|(name, value)| sample.label(name) == Some(value));
        self.of(name).filter(is_meant).map(|sample| sample.value)
    }
}

/// The buckets of a histogram: pairs of an upper bound and the number of values up to it, rising. The last bound is
/// infinite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// Returns the number of values.
    pub fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Returns the values that came after an earlier scrape. A bucket that the earlier one did not have counts as empty
    /// then.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| earlier.0.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count);
        Self(self.0.iter().map(|&(bound, count)| (bound, (count - before(bound)).max(0.0))).collect())
    }

    /// Returns the value that a share of all values, 0 to 1, does not exceed. Within a bucket it is interpolated, as
    /// Prometheus does: values are taken to be spread evenly, and the first bucket to begin at 0. Beyond the last
    /// finite bound it is that bound. `None` if there are no values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let rank = share.clamp(0.0, 1.0) * count;
        let at = self.0.iter().position(|(_, up_to)| *up_to >= rank).filter(|_| count > 0.0)?;
        let (from, below) = at.checked_sub(1).map_or((0.0, 0.0), |at| self.0[at]);
        let (to, up_to) = self.0[at];
        if to.is_infinite() {
            return (at > 0).then_some(from);
        }
        let within = if up_to > below { (rank - below) / (up_to - below) } else { 0.0 };
        Some(from + (to - from) * within)
    }
}

/// Reads one line. `None` if it is not a sample.
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace()).filter(|end| *end > 0)?;
    let (name, rest) = line.split_at(name_end);
    if name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A timestamp and an exemplar may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads the labels up to the closing brace. Returns them and the text after it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = quoted_text(quoted)?;
        labels.push((name.trim().to_owned(), value));
        rest = after;
    }
}

/// Reads a text up to the closing quotation mark. Returns it without its escapes, and the text after it.
fn quoted_text(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# HELP maxtalk_rejected_total Messages, by reason.
# TYPE maxtalk_rejected_total counter
maxtalk_rejected_total{actor="conversation",message="talk",reason="full"} 5
maxtalk_rejected_total{actor="conversation",message="join",reason="full"} 2 1700000000
maxtalk_rejected_total{reason="full",actor="registry"} 1e1
maxtalk_peak{actor="conversation",worker="0"} 3
maxtalk_peak{actor="conversation",worker="1"} 9 # {trace="x"} 1
maxtalk_build_info{version="0.1 \"a, b}\" \\ c\n"} 1
maxtalk_lag 0.5
maxtalk_wait_bucket{actor="conversation",message="talk",le="0.1"} 10
maxtalk_wait_bucket{actor="conversation",message="talk",le="0.2"} 30
maxtalk_wait_bucket{actor="conversation",message="talk",le="+Inf"} 40
maxtalk_wait_bucket{actor="conversation",message="join",le="0.1"} 10
maxtalk_wait_bucket{actor="conversation",message="join",le="0.2"} 10
maxtalk_wait_bucket{actor="conversation",message="join",le="+Inf"} 10
a_name_without_a_value
half_a_label{x="y
"#;

    #[test]
    fn samples_are_summed_over_the_labels_that_nobody_asks_for() {
        let metrics = Exposition::parse(TEXT);
        let rejected = |actor| metrics.sum("maxtalk_rejected_total", ("actor", actor));
        assert_eq!((rejected("conversation"), rejected("registry"), rejected("max")), (Some(7.0), Some(10.0), None));
        assert_eq!(metrics.total("maxtalk_rejected_total"), Some(17.0));
        assert_eq!(metrics.max("maxtalk_peak", ("actor", "conversation")), Some(9.0));
        assert_eq!((metrics.total("maxtalk_lag"), metrics.total("maxtalk_la")), (Some(0.5), None));
        assert_eq!(metrics.labels("maxtalk_rejected_total", "actor"), ["conversation", "registry"]);
        assert_eq!(metrics.labels("maxtalk_build_info", "version"), ["0.1 \"a, b}\" \\ c\n"]);
        assert!(!metrics.is_empty() && Exposition::parse("<html>\n# nothing\n").is_empty());
    }

    #[test]
    fn several_servers_are_as_one() {
        let [one, other] = [(); 2].map(|()| Exposition::parse(TEXT));
        let both = [one.clone(), other].into_iter().collect::<Exposition>();
        assert_eq!(
            (one.total("maxtalk_rejected_total"), both.total("maxtalk_rejected_total")),
            (Some(17.0), Some(34.0))
        );
        assert_eq!(both.max("maxtalk_peak", ("actor", "conversation")), Some(9.0));
        let waits = both.histogram("maxtalk_wait", ("actor", "conversation"));
        assert_eq!(waits, Histogram(vec![(0.1, 40.0), (0.2, 80.0), (f64::INFINITY, 100.0)]));
    }

    #[test]
    fn a_quantile_is_interpolated_as_prometheus_does() {
        let metrics = Exposition::parse(TEXT);
        let waits = metrics.histogram("maxtalk_wait", ("actor", "conversation"));
        assert_eq!(waits, Histogram(vec![(0.1, 20.0), (0.2, 40.0), (f64::INFINITY, 50.0)]));
        let table = [(0.0, 0.0), (0.2, 0.05), (0.4, 0.1), (0.6, 0.15), (0.8, 0.2), (0.99, 0.2), (1.0, 0.2)];
        for (share, value) in table {
            let found = waits.quantile(share).unwrap();
            assert!((found - value).abs() < 1e-9, "{share}: {found}");
        }
        let none = metrics.histogram("maxtalk_wait", ("actor", "registry"));
        assert_eq!((none.quantile(0.5), none.count()), (None, 0.0));
        let beyond = Histogram(vec![(f64::INFINITY, 5.0)]);
        assert_eq!(beyond.quantile(0.5), None, "no bound is known");
    }

    #[test]
    fn the_values_since_an_earlier_scrape_are_a_histogram() {
        let at = |counts: [f64; 3]| Histogram([0.1, 0.2, f64::INFINITY].into_iter().zip(counts).collect());
        let (before, after) = (at([10.0, 10.0, 10.0]), at([10.0, 30.0, 30.0]));
        assert_eq!(after.since(&before), at([0.0, 20.0, 20.0]));
        assert_eq!(after.since(&before).quantile(0.5), Some(0.1 + 0.1 * 0.5));
        assert_eq!(after.since(&Histogram::default()), after);
        assert_eq!(before.since(&after).count(), 0.0, "a server that began anew has nothing below 0");
    }
}
