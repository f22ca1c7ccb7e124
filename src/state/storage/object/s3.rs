//! What a URI of S3 says, and the way there.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, CredentialProvider, Error, ObjectStore, RetryConfig,
};
use reqwest::{NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::client::PAUSES;
use crate::state::storage::{Environment, StorageError, refused};

/// How long a request is tried, unless the URI says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one request may take, and how long a connection may take to come about.
const REQUEST: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);

/// The longest file of credentials or certificates that is read.
const LONGEST: u64 = 16 << 20;

const PARAMETERS: [&str; 7] =
    ["region", "endpoint", "credentials-file", "profile", "credentials", "tls", "timeout"];

/// Variables by which containers of Amazon and Kubernetes are handed credentials.
const HANDED: [&str; 7] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// A bucket, and what is in front of the names there.
pub(super) struct Place {
    bucket: String,
    prefix: String,
    region: String,
    /// Of another server than Amazon's.
    endpoint: Option<String>,
    credentials: Credentials,
    /// Authorities that are trusted in place of the system's.
    trust: Option<PathBuf>,
    /// Where requests go that go by TLS, and to which hosts they go by themselves.
    proxy: Option<(String, String)>,
    patience: Duration,
}

/// Where credentials are.
enum Credentials {
    Given(AwsCredential),
    /// In a file, which is read each time: they may have been changed.
    In(SharedFile),
    /// Wherever these variables say.
    Handed(Vec<(AmazonS3ConfigKey, String)>),
    /// With the machine.
    Instance,
}

impl Place {
    /// Reads `s3://BUCKET/PREFIX?…`.
    pub(super) fn parse(uri: &str, environment: Environment) -> Result<Self, StorageError> {
        let (place, query) = uri.split_once('?').unwrap_or((uri, ""));
        let Some(rest) = place.strip_prefix("s3://") else {
            return Err(refused("s3:", "it is written `s3://BUCKET/PREFIX`"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let of = |more: &[u8], text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        if bucket.is_empty() || !of(b"-._", bucket) {
            // There may be a password in it.
            let reason = "the name of a bucket stands behind `s3://`: letters, digits, `-`, `.` and `_`; credentials are in the environment, or \
                          in the file that `credentials-file=` names";
            return Err(refused("s3:", reason));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_word = |word: &str| !word.is_empty() && word != "." && word != ".." && of(b"-._=+", word);
        if !prefix.is_empty() && !prefix.split('/').all(is_word) || prefix.len() > 500 {
            let reason =
                "a prefix has words of letters, digits, `-`, `_`, `.`, `=` and `+`, with `/` between";
            return Err(refused(place, reason));
        }
        let refuse = |reason: String| refused(place, reason);
        let mut given: [Option<String>; PARAMETERS.len()] = Default::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(at) = PARAMETERS.iter().position(|known| *known == name) else {
                let known = PARAMETERS.join(", ");
                let name: String = name.escape_debug().take(60).collect();
                return Err(refuse(format!("`{name}` is not one of its parameters: {known}")));
            };
            if value.is_empty() {
                return Err(refuse(format!("`{name}=` says nothing")));
            }
            given[at] = Some(value.to_owned());
        }
        let [region, endpoint, file, profile, credentials, trust, timeout] = given;
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let endpoint = endpoint.or_else(|| set("AWS_ENDPOINT_URL_S3")).or_else(|| set("AWS_ENDPOINT_URL"));
        let endpoint = endpoint.map(|url| check_endpoint(&url).map_err(refuse)).transpose()?;
        let region = region.or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"));
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            // Others than Amazon's take any.
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => {
                return Err(refuse(
                    "say in which region the bucket is: `region=eu-central-1`, or AWS_REGION".into(),
                ));
            }
        };
        let patience = match timeout {
            None => PATIENCE,
            Some(text) => match humantime::parse_duration(&text) {
                Ok(time) if time >= Duration::from_secs(1) => time,
                _ => return Err(refuse(format!("timeout `{text}` is no time from 1s on, such as 30s"))),
            },
        };
        let credentials = Credentials::find(file, profile, credentials, &set)
            .map_err(|reason| without_credentials(place, reason))?;
        let (bucket, prefix, trust) = (bucket.to_owned(), prefix.to_owned(), trust.map(PathBuf::from));
        let either = |names: [&str; 2]| names.iter().find_map(|name| set(name));
        let proxy = either(["https_proxy", "HTTPS_PROXY"])
            .map(|proxy| (proxy, either(["no_proxy", "NO_PROXY"]).unwrap_or_default()));
        Ok(Place { bucket, prefix, region, endpoint, credentials, trust, proxy, patience })
    }

    /// As messages say it, without parameters.
    pub(super) fn uri(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    fn is_in_clear(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"))
    }

    /// What DuckDB has to be told to find the bucket. It looks for credentials itself.
    pub(super) fn for_duckdb(&self) -> String {
        let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut secret = format!("TYPE s3, PROVIDER credential_chain, REGION {}", text(&self.region));
        if let Some(url) = &self.endpoint {
            let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
            secret += &format!(", ENDPOINT {}, URL_STYLE 'path'", text(host));
            secret += if self.is_in_clear() { ", USE_SSL false" } else { "" };
        }
        let scope = text(&format!("s3://{}", self.bucket));
        format!(
            "INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;\n\
             CREATE OR REPLACE SECRET thalweg ({secret}, SCOPE {scope});"
        )
    }

    /// The store. Nothing is asked of it yet.
    pub(super) fn connect(&self) -> Result<Box<dyn ObjectStore>, StorageError> {
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: PAUSES[0], max_backoff: PAUSES[1], base: 2.0 },
            max_retries: 1000,
            retry_timeout: self.patience,
        };
        let connector = Connector {
            // Credentials come by TLS where the store may not.
            tls: match (self.is_in_clear(), &self.credentials) {
                (true, Credentials::Given(_) | Credentials::In(_) | Credentials::Instance) => None,
                _ => Some(self.tls()?),
            },
            proxy: self.proxy.clone(),
            request: REQUEST.min(self.patience),
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_allow_http(self.is_in_clear())
            .with_retry(retry)
            .with_http_connector(connector);
        if let Some(url) = &self.endpoint {
            builder = builder.with_endpoint(url);
        }
        builder = match &self.credentials {
            Credentials::Given(credential) => {
                let AwsCredential { key_id, secret_key, token } = credential;
                let builder = builder.with_access_key_id(key_id).with_secret_access_key(secret_key);
                token.iter().fold(builder, |builder, token| builder.with_token(token))
            }
            Credentials::In(file) => {
                file.read().map_err(|reason| without_credentials(&self.uri(), reason))?;
                builder.with_credentials(Arc::new(file.clone()))
            }
            Credentials::Handed(keys) => {
                keys.iter().fold(builder, |builder, (key, value)| builder.with_config(*key, value))
            }
            Credentials::Instance => builder,
        };
        let store = builder.build().map_err(|error| refused(&self.uri(), error.to_string()))?;
        Ok(Box::new(store))
    }

    /// Whom to trust.
    fn tls(&self) -> Result<ClientConfig, StorageError> {
        let refuse = |reason: String| refused(&self.uri(), reason);
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.trust {
            let refuse = |reason: String| refuse(format!("tls `{}`: {reason}", path.display()));
            let pem = read_file(path).map_err(|error| refuse(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|_| refuse("a certificate in it is damaged".into()))?;
                roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(refuse("there is no certificate of PEM in it".into()));
            }
        } else {
            // One that cannot be used is left out: nobody chose it.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(refuse(
                    "this system trusts nobody: install its authorities (Debian: `ca-certificates`), or say `tls=FILE`"
                        .into(),
                ));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| refuse(error.to_string()))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// That there are no credentials for `uri`.
fn without_credentials(uri: &str, reason: String) -> StorageError {
    let hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a file of Amazon's tools (`credentials-file=FILE`), or take those of a \
                machine of Amazon (`credentials=instance`)";
    StorageError::Refused { uri: uri.to_owned(), reason, hint }
}

/// An endpoint as it can be used.
fn check_endpoint(url: &str) -> Result<String, String> {
    let Some((scheme @ ("https" | "http"), rest)) = url.split_once("://") else {
        return Err(
            "an endpoint is written `https://HOST`, or `http://HOST:PORT` for one in clear".to_owned()
        );
    };
    // There may be a password in it.
    if rest.contains('@') {
        return Err(
            "credentials are not in an endpoint, but in the environment, or in the file that `credentials-file=` names"
                .to_owned(),
        );
    }
    let place = rest.trim_end_matches('/');
    let host = place.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let odd = |byte: u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || !byte.is_ascii();
    if host.is_empty() || place.bytes().any(odd) {
        return Err("an endpoint names a host".to_owned());
    }
    let address = host.parse::<std::net::IpAddr>();
    let is_near = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if scheme == "http" && !is_near {
        log::warn!("state goes to {host} in clear\n  hint: an endpoint by `https://`");
    }
    Ok(format!("{scheme}://{place}"))
}

impl Credentials {
    /// Those that a URI names by `file` and `profile` or by `kind`; else what `set` knows.
    fn find(
        file: Option<String>,
        profile: Option<String>,
        kind: Option<String>,
        set: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        match kind.as_deref() {
            Some("instance") if file.is_none() && profile.is_none() => return Ok(Credentials::Instance),
            Some("instance") => return Err("there are two kinds of credentials: leave one out".to_owned()),
            Some(_) => return Err("credentials can be `instance`, those of the machine".to_owned()),
            None => {}
        }
        let in_file = |path: PathBuf| {
            let profile = profile.clone().or_else(|| set("AWS_PROFILE"));
            Credentials::In(SharedFile { path, profile: profile.unwrap_or_else(|| "default".to_owned()) })
        };
        let shared = || {
            let home = || set("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
            set("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home)
        };
        if let Some(path) = file {
            return Ok(in_file(path.into()));
        }
        if profile.is_some() {
            let path = shared().ok_or("`profile=` goes with `credentials-file=FILE`")?;
            return Ok(in_file(path));
        }
        match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
            (Some(key_id), Some(secret_key)) => {
                let token = set("AWS_SESSION_TOKEN");
                return Ok(Credentials::Given(AwsCredential { key_id, secret_key, token }));
            }
            (None, None) => {}
            (Some(_), None) => {
                return Err("AWS_SECRET_ACCESS_KEY is not set, and AWS_ACCESS_KEY_ID is".into());
            }
            (None, Some(_)) => {
                return Err("AWS_ACCESS_KEY_ID is not set, and AWS_SECRET_ACCESS_KEY is".into());
            }
        }
        if ["AWS_WEB_IDENTITY_TOKEN_FILE", HANDED[4], HANDED[5]].iter().any(|name| set(name).is_some()) {
            let key = |name: &&str| Some((name.to_ascii_lowercase().parse().ok()?, set(name)?));
            return Ok(Credentials::Handed(HANDED.iter().filter_map(key).collect()));
        }
        match shared().filter(|path| set("AWS_SHARED_CREDENTIALS_FILE").is_some() || path.exists()) {
            Some(path) => Ok(in_file(path)),
            None => Err("there are no credentials".to_owned()),
        }
    }
}

/// A file of credentials, as Amazon's tools have it.
#[derive(Clone, Debug)]
struct SharedFile {
    path: PathBuf,
    profile: String,
}

impl SharedFile {
    fn read(&self) -> Result<AwsCredential, String> {
        let refuse = |reason: String| format!("credentials-file `{}`: {reason}", self.path.display());
        let text = read_file(&self.path).map_err(|error| refuse(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| refuse("it is no text".to_owned()))?;
        profile(&text, &self.profile).map_err(refuse)
    }
}

/// The credentials of `profile` in `text`.
fn profile(text: &str, profile: &str) -> Result<AwsCredential, String> {
    let (mut is_it, mut found) = (false, false);
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_it = name.trim() == profile;
            found |= is_it;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_it) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    match (key_id, secret_key) {
        (Some(key_id), Some(secret_key)) => Ok(AwsCredential { key_id, secret_key, token }),
        _ if found => Err(format!("[{profile}] is without `aws_access_key_id` or `aws_secret_access_key`")),
        _ => Err(format!("it has no [{profile}]")),
    }
}

impl CredentialProvider for SharedFile {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(
        &'a self,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<AwsCredential>, Error>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let read = self.read().map(Arc::new);
        let read = read.map_err(|reason| Error::Generic { store: "S3", source: reason.into() });
        Box::pin(std::future::ready(read))
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes the connections.
#[derive(Debug)]
struct Connector {
    /// `None` if all goes in clear.
    tls: Option<ClientConfig>,
    proxy: Option<(String, String)>,
    /// How long one request may take.
    request: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let failed = |error: reqwest::Error| Error::Generic { store: "S3", source: error.into() };
        let in_clear = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("thalweg/", env!("CARGO_PKG_VERSION")))
            .timeout(self.request)
            .connect_timeout(CONNECT)
            .http1_only()
            // A signature is for one host.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!in_clear)
            .no_proxy();
        // Without one of its own it would look for another that nobody has chosen.
        let tls = self.tls.clone().map_or_else(trusting_nobody, Ok);
        builder = builder.tls_backend_preconfigured(
            tls.map_err(|error| Error::Generic { store: "S3", source: error.into() })?,
        );
        if let Some((proxy, but)) = &self.proxy {
            let proxy = Proxy::https(proxy).map_err(failed)?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(but)));
        }
        Ok(HttpClient::new(builder.build().map_err(failed)?))
    }
}

/// TLS that is not used.
fn trusting_nobody() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn keys(name: &str) -> Option<String> {
        match name {
            "AWS_ACCESS_KEY_ID" => Some("me".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("hush".to_owned()),
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            _ => None,
        }
    }

    fn refused(uri: &str, environment: Environment) -> String {
        match Place::parse(uri, environment).and_then(|place| place.connect()) {
            Err(error) if error.is_configuration() => error.to_string(),
            Err(error) => panic!("{uri}: {error}"),
            Ok(_) => panic!("{uri} is taken"),
        }
    }

    #[test]
    fn a_uri_is_a_bucket_and_a_prefix() {
        for (uri, place, prefix) in [
            ("s3://bucket", "s3://bucket", ""),
            ("s3://bucket/", "s3://bucket", ""),
            ("s3://my.bucket/a/b=1/?timeout=5s", "s3://my.bucket/a/b=1", "a/b=1"),
        ] {
            let parsed = Place::parse(uri, keys).unwrap();
            assert_eq!((parsed.uri().as_str(), parsed.prefix()), (place, prefix));
            assert_eq!(parsed.region, "eu-central-1");
        }
        let other = Place::parse("s3://b/p?endpoint=http://127.0.0.1:9/&region=here", keys).unwrap();
        assert_eq!((other.endpoint.as_deref(), other.region.as_str()), (Some("http://127.0.0.1:9"), "here"));
        assert!(other.is_in_clear() && other.patience() == PATIENCE);
        let told = other.for_duckdb();
        for part in ["REGION 'here'", "ENDPOINT '127.0.0.1:9'", "USE_SSL false", "SCOPE 's3://b'"] {
            assert!(told.contains(part) && !told.contains("hush"), "{part}: {told}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_a_reason_and_without_secrets() {
        for (uri, reason) in [
            ("s3:bucket", "s3://BUCKET/PREFIX"),
            ("s3://", "the name of a bucket"),
            ("s3://me:hush@bucket/a", "credentials are in the environment"),
            ("s3://bucket/../a", "a prefix has words"),
            ("s3://bucket/a//b", "a prefix has words"),
            ("s3://bucket/a?regoin=x", "`regoin` is not one of its parameters: region, endpoint"),
            ("s3://bucket/a?secret_access_key=hush", "`secret_access_key` is not one of its parameters"),
            ("s3://bucket/a?region=", "`region=` says nothing"),
            ("s3://bucket/a?timeout=soon", "timeout `soon`"),
            ("s3://bucket/a?timeout=0s", "timeout `0s`"),
            ("s3://bucket/a?endpoint=127.0.0.1:9000", "an endpoint is written"),
            ("s3://bucket/a?endpoint=http://me:hush@host", "credentials are not in an endpoint"),
            ("s3://bucket/a?credentials=machine", "`instance`"),
            ("s3://bucket/a?credentials=instance&profile=a", "two kinds of credentials"),
            ("s3://bucket/a?credentials-file=/not/there", "credentials-file `/not/there`"),
            ("s3://bucket/a?tls=/not/there", "tls `/not/there`"),
        ] {
            let error = refused(uri, keys);
            assert!(error.contains(reason) && !error.contains("hush"), "{uri}: {error}");
        }
        assert!(refused("s3://bucket/a", none).contains("region=eu-central-1"));
        assert!(refused("s3://bucket/a?region=x", none).contains("there are no credentials"));
        let half = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "me".to_owned());
        assert!(refused("s3://bucket/a?region=x", half).contains("AWS_SECRET_ACCESS_KEY is not set"));
    }

    #[test]
    fn a_file_has_credentials_by_profile() {
        let text = "# mine\n[default]\naws_access_key_id = a\naws_secret_access_key= b = c\n\n[other]\n\
                    aws_access_key_id=d\naws_secret_access_key=e\naws_session_token = f\nregion = x\n[half]\naws_access_key_id=g\n";
        let of = |name: &str| profile(text, name).map(|it| (it.key_id, it.secret_key, it.token));
        assert_eq!(of("default"), Ok(("a".into(), "b = c".into(), None)));
        assert_eq!(of("other"), Ok(("d".into(), "e".into(), Some("f".into()))));
        assert!(of("half").unwrap_err().contains("without"));
        assert_eq!(of("none").unwrap_err(), "it has no [none]");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        std::fs::write(&path, text).unwrap();
        let uri = |profile: &str| {
            format!(
                "s3://b?region=x&endpoint=http://localhost:9&credentials-file={}{profile}",
                path.display()
            )
        };
        assert!(Place::parse(&uri("&profile=other"), none).unwrap().connect().is_ok());
        assert!(refused(&uri("&profile=none"), none).contains("it has no [none]"));
    }

    #[test]
    fn containers_are_handed_credentials() {
        let handed = |name: &str| match name {
            "AWS_WEB_IDENTITY_TOKEN_FILE" => Some("/token".to_owned()),
            "AWS_ROLE_ARN" => Some("arn:aws:iam::1:role/a".to_owned()),
            _ => None,
        };
        let place = Place::parse("s3://b?region=x", handed).unwrap();
        let Credentials::Handed(keys) = place.credentials else { panic!("others were found") };
        assert_eq!(keys.len(), 2, "{keys:?}");
    }
}
