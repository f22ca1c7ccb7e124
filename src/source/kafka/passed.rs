//! What is common to all that talk to Kafka: options that are handed to librdkafka as they are, and
//! names of topics.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;

/// Options of librdkafka that are not for the user to set, and what to say instead.
pub(crate) type Own<'a> = [(&'a str, &'a str)];

/// Options of librdkafka, as the user gave them. There may be secrets among them.
#[derive(Clone, Default)]
pub(crate) struct Passed(BTreeMap<String, String>);

impl Passed {
    /// Has librdkafka take `key`, which is none of `own`. What is wrong is said without the value,
    /// which may be a secret.
    pub(crate) fn set(&mut self, own: &Own<'_>, key: &str, value: &str) -> Result<(), String> {
        if let Some((_, instead)) = own.iter().find(|(own, _)| *own == key) {
            return Err(format!("`kafka.{key}` is not for you to set: {instead}"));
        }
        match ClientConfig::new().set(key, value).create_native_config() {
            Ok(_) => {}
            Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..)) => {
                return Err(format!("librdkafka has no option `{key}` (`kafka.{key}`)"));
            }
            Err(KafkaError::ClientConfig(_, reason, ..)) if value.is_empty() || !reason.contains(value) => {
                return Err(format!("`kafka.{key}`: {reason}"));
            }
            Err(_) => return Err(format!("`kafka.{key}`: librdkafka does not take this value")),
        }
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Takes what stands in the file at `path`: one `OPTION=VALUE` a line.
    pub(crate) fn read(&mut self, own: &Own<'_>, path: &str) -> Result<(), String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("`properties={path}`: {error}"))?;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |reason: String| format!("{path}, line {number}: {reason}");
            let (key, value) = line.split_once('=').ok_or_else(|| at("it is not `KEY=VALUE`".to_owned()))?;
            self.set(own, key.trim(), value.trim()).map_err(at)?;
        }
        Ok(())
    }

    /// The value of an option.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// What librdkafka is told, by us and then by the user.
    pub(crate) fn config(&self, brokers: &str, ours: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("client.id", "thalweg");
        ours.iter().for_each(|(key, value)| {
            config.set(*key, value);
        });
        config.extend(self.0.clone());
        config
    }
}

/// `name`, if it can be that of a topic.
pub(crate) fn topic(name: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Err("a topic's name is missing".to_owned()),
        "." | ".." => Err(format!("`{name}` is no topic's name")),
        _ if name.len() > 249 || !name.chars().all(is_plain) => Err(format!(
            "`{name}` is no topic's name: these have letters, digits, `.`, `_` and `-`, 249 at most"
        )),
        _ => Ok(name.to_owned()),
    }
}

/// `text` without percent escapes.
pub(crate) fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escape = behind.get(..2).filter(|_| *first == b'%');
        let escape = escape.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        (rest, _) =
            (if escape.is_some() { &behind[2..] } else { behind }, bytes.push(escape.unwrap_or(*first)));
    }
    String::from_utf8(bytes).map_err(|_| "an option's value is not UTF-8".to_owned())
}
