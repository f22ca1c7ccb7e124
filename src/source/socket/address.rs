//! Addresses and options, as URIs of sockets have them.

/// `HOST:PORT`, as `//HOST:PORT?options` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// A name or an address; one of version 6 stands in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What stands in `rest`, which follows a scheme and its colon: the address, and the options behind it; `host` is the one where
/// none is given.
pub(super) fn parse<'a>(
    rest: &'a str,
    host: Option<&str>,
) -> Result<(Address, Vec<(&'a str, &'a str)>), String> {
    let form = if host.is_some() { "`//PORT` or `//ADDRESS:PORT`" } else { "`//HOST:PORT`" };
    let rest = rest.strip_prefix("//").ok_or_else(|| format!("what follows is {form}"))?;
    let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (given, port) = match (address.rsplit_once(':'), host) {
        (Some((given, port)), _) => (given, port),
        (None, Some(_)) => ("", address),
        (None, None) => return Err(format!("`{address}` has no port: what follows is {form}")),
    };
    let port = port.parse().map_err(|_| format!("`{port}` is no port, which is a number from 0 to 65535"))?;
    let given = match (given, host) {
        ("", None) => return Err(format!("`{address}` has no host: what follows is {form}")),
        ("", Some(host)) => host,
        (given, _) if given.contains(':') && !(given.starts_with('[') && given.ends_with(']')) => {
            return Err(format!("`{given}` stands in brackets where a port follows: `[{given}]:{port}`"));
        }
        (given, _) => given,
    };
    Ok((Address { host: given.to_owned(), port }, crate::source::options(options).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str, host: Option<&str>) -> Result<String, String> {
        parse(rest, host).map(|(address, options)| format!("{address} {options:?}"))
    }

    #[test]
    fn addresses_are_read_and_what_is_none_is_named() {
        assert_eq!(read("//log.example:9999", None).as_deref(), Ok("log.example:9999 []"));
        assert_eq!(read("//[::1]:1?a=1&b", None).as_deref(), Ok("[::1]:1 [(\"a\", \"1\"), (\"b\", \"\")]"));
        for rest in ["//0", "//:0"] {
            assert_eq!(read(rest, Some("127.0.0.1")).as_deref(), Ok("127.0.0.1:0 []"));
        }
        assert_eq!(read("//0.0.0.0:9", Some("127.0.0.1")).as_deref(), Ok("0.0.0.0:9 []"));
        for (rest, part) in [
            ("localhost:1", "what follows is `//HOST:PORT`"),
            ("//localhost", "has no port"),
            ("//:9999", "has no host"),
            ("//localhost:http", "`http` is no port"),
            ("//localhost:65536", "`65536` is no port"),
            ("//::1:9999", "`[::1]:9999`"),
        ] {
            let error = read(rest, None).expect_err(rest);
            assert!(error.contains(part), "{rest}: {error}");
        }
    }
}
