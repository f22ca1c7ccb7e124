//! What tweets are made of: lists, and the rule from ranks to hashtags.
//!
//! Everything here is written into a JSON string as it stands, so quotes, backslashes and line ends are escaped.

use crate::generate::text::word;

/// Tags of the real world; they are the most popular. None is a made-up word, in any case of its letters.
const USUAL_TAGS: [&str; 24] = [
    "BigData",
    "ArtificialIntelligence",
    "DataScience",
    "Kafka4All",
    "MachineLearning",
    "NoSQL",
    "RustLang",
    "Hadoop",
    "100DaysOfCode",
    "IoT",
    "ApacheSpark",
    "Python",
    "5G",
    "été",
    "TechnikTrifftZukunft",
    "データ",
    "Java",
    "日本",
    "новости",
    "DevOps",
    "café",
    "StreamProcessing",
    "CloudNative",
    "Linux",
];

/// Appends hashtag number `rank` without its `#`: no other rank's, even if letters' case does not count.
pub(super) fn tag(rank: u64, out: &mut Vec<u8>) {
    if let Some(usual) = USUAL_TAGS.get(rank as usize) {
        return out.extend_from_slice(usual.as_bytes());
    }
    let start = out.len();
    word(100 + rank, out);
    // Half of the writers begin with a capital, always the same for one tag.
    if rank.is_multiple_of(2) {
        out[start].make_ascii_uppercase();
    }
}

/// Words of a tweet, the commoner first.
pub(super) const WORDS: [&str; 72] = [
    "the",
    "to",
    "a",
    "and",
    "of",
    "in",
    "for",
    "is",
    "on",
    "with",
    "how",
    "you",
    "data",
    "your",
    "this",
    "new",
    "from",
    "are",
    "at",
    "we",
    "it",
    "that",
    "our",
    "by",
    "learn",
    "what",
    "can",
    "use",
    "more",
    "streaming",
    "about",
    "why",
    "now",
    "best",
    "real-time",
    "build",
    "using",
    "today",
    "time",
    "all",
    "latest",
    "great",
    "free",
    "database",
    "team",
    "code",
    "open",
    "source",
    "need",
    "join",
    "cloud",
    "via",
    "live",
    "guide",
    "lake",
    "pipeline",
    "talk",
    "thread",
    "query",
    "analytics",
    "developers",
    "business",
    "window",
    "index",
    "key",
    "events",
    "late",
    "offset",
    "partition",
    "replay",
    "snapshot",
    "watermark",
];

/// Parts that a careless parser stumbles over: every kind of JSON escape, letters and signs beyond ASCII.
pub(super) const TRICKY: [&str; 24] = [
    "🚀",
    r"\ud83d\ude80",
    "🔥",
    r#"\"exactly once\""#,
    "&amp;",
    "…",
    "👇",
    r"caf\u00e9",
    "naïve",
    r"line one\nline two",
    r"24\/7",
    "日本語",
    "👩‍💻",
    r"C:\\logs\\today",
    "это",
    "Zürich",
    r"\u201cquoted\u201d",
    "❤️",
    r"tab\there",
    "$10k",
    "100%",
    r"\u0645\u0631\u062d\u0628\u0627",
    "a{b}[c],:d",
    r"nul\u0000byte",
];

/// The languages that tweets say they are in, by weights as running totals.
pub(super) const LANGUAGES: [(u64, &str); 8] = [
    (700, "en"),
    (770, "es"),
    (830, "fr"),
    (880, "ja"),
    (920, "de"),
    (950, "pt"),
    (980, "und"),
    (1000, "pl"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tags_are_distinct_and_single_words() {
        let mut seen = HashSet::new();
        for rank in 0..300_000 {
            let mut out = Vec::new();
            tag(rank, &mut out);
            let tag = String::from_utf8(out).expect("UTF-8");
            assert!(tag.chars().all(char::is_alphanumeric), "{tag}");
            assert!(seen.insert(tag.to_lowercase()), "{tag}");
        }
    }

    #[test]
    fn parts_are_fit_for_a_json_string() {
        for part in WORDS.iter().chain(&TRICKY) {
            let text: String = serde_json::from_str(&format!("\"{part}\"")).expect(part);
            assert!(!text.contains('#'), "{part} must not look like a hashtag");
        }
    }
}
