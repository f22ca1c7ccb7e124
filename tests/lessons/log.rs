//! What a log says, read the plain way.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

/// A line of an access log.
pub struct Hit {
    /// Milliseconds since 1970.
    pub time: i64,
    pub client: String,
    pub url: String,
    pub status: u16,
    pub size: Option<u64>,
}

/// The lines that are of the form.
pub fn hits(log: &str) -> Vec<Hit> {
    let line = Regex::new(r#"^(\S+) \S+ \S+ \[([^\]]+)\] "([^"]*)" (\d{3}) (\d+|-)( |$)"#).unwrap();
    let hits = log.split('\n').filter_map(|text| {
        let parts = line.captures(text)?;
        let time = chrono::DateTime::parse_from_str(&parts[2], "%d/%b/%Y:%H:%M:%S %z").unwrap();
        Some(Hit {
            time: time.timestamp_millis(),
            client: parts[1].to_owned(),
            url: parts[3].split(' ').nth(1).unwrap_or_default().to_owned(),
            status: parts[4].parse().unwrap(),
            size: parts[5].parse().ok(),
        })
    });
    hits.collect()
}

/// How often each tag is in the text of tweets, as the course reads them.
pub fn tags(tweets: &[u8]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    let lines = tweets.split(|byte| *byte == b'\n');
    for tweet in lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()) {
        let text = tweet["text"].as_str().unwrap_or_default();
        let tags = text.split(' ').filter(|word| word.starts_with('#'));
        tags.for_each(|tag| *counts.entry(tag.to_owned()).or_default() += 1);
    }
    counts
}

/// The most frequent first; of those that are as frequent, in their order.
pub fn ranked(counts: &BTreeMap<String, i64>) -> Vec<(String, i64)> {
    let mut ranked: Vec<_> = counts.iter().map(|(key, count)| (key.clone(), *count)).collect();
    ranked.sort_by_key(|(_, count)| -count);
    ranked
}

/// A time as it is shown.
pub fn time(millis: i64) -> String {
    thalweg::time::Time(millis).to_string()
}
