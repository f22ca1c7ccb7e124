//! Certificates and keys, from files of PEM. What is wrong with one is said with its name, and nothing of a key is ever shown.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use super::x509::Facts;
use crate::source::SourceError;
use crate::time::Time;

/// The longest file that is read: far above any list of authorities.
const LONGEST: u64 = 16 << 20;

/// A certificate with those that lead to its authority, and its key.
pub(super) type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(len) if len as u64 <= LONGEST => Ok(bytes),
        Ok(_) => Err(error(path, "it is too long for certificates", "it is no file of PEM")),
        Err(source) => Err(SourceError::Open { path: path.to_owned(), source }),
    }
}

pub(super) fn error(path: &Path, reason: impl Into<String>, hint: &'static str) -> SourceError {
    SourceError::Certificate { path: path.to_owned(), reason: reason.into(), hint }
}

/// The time by which rustls says whether a certificate is valid.
fn now() -> Time {
    let now = DefaultTimeProvider.current_time().map_or(0, |now| now.as_secs());
    Time(i64::try_from(now).unwrap_or(0).saturating_mul(1000))
}

/// All certificates of a file, each with what a person wants to know of it.
fn certificates(path: &Path) -> Result<Vec<(CertificateDer<'static>, Facts)>, SourceError> {
    let bytes = read(path)?;
    let mut all = Vec::new();
    for (number, one) in (1..).zip(CertificateDer::pem_slice_iter(&bytes)) {
        let one = one.map_err(|_| {
            error(path, format!("certificate {number} in it is damaged"), "write the file anew, as PEM")
        })?;
        let facts = Facts::of(&one).ok_or_else(|| {
            error(path, format!("certificate {number} in it is none"), "write the file anew, as PEM")
        })?;
        all.push((one, facts));
    }
    if all.is_empty() {
        let hint = "it is to be PEM, with `-----BEGIN CERTIFICATE-----`; `openssl x509 -inform DER -in FILE` makes it of DER";
        return Err(error(path, "there is no certificate in it", hint));
    }
    Ok(all)
}

/// What is wrong with the time in which a certificate is valid.
fn is_out_of_time(facts: &Facts) -> Option<String> {
    let now = now();
    let Facts { subject, not_before, not_after } = facts;
    if now > *not_after {
        return Some(format!("the certificate of `{subject}` expired at {not_after}"));
    }
    (now < *not_before)
        .then(|| format!("the certificate of `{subject}` is valid from {not_before} on, and not yet"))
}

/// The certificate that this side shows, and its key, of `certificate` and `key`, which may be the same file.
pub(super) fn own(certificate: &Path, key: &Path) -> Result<Own, SourceError> {
    let chain = certificates(certificate)?;
    if let Some(reason) = chain.first().and_then(|(_, facts)| is_out_of_time(facts)) {
        return Err(error(certificate, reason, "have it renewed; or set this machine's clock"));
    }
    let chain = chain.into_iter().map(|(certificate, _)| certificate).collect();
    Ok((chain, private(key)?))
}

fn private(path: &Path) -> Result<PrivateKeyDer<'static>, SourceError> {
    let bytes = read(path)?;
    warn_if_shared(path).map_err(|source| SourceError::Open { path: path.to_owned(), source })?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if memchr::memmem::find(&bytes, b"ENCRYPTED").is_some() => {
            let hint = "`openssl pkey -in FILE -out OTHER` makes one without a passphrase; keep that to yourself (chmod 600)";
            Err(error(path, "the key in it is encrypted", hint))
        }
        Err(pem::Error::NoItemsFound) => {
            Err(error(path, "there is no private key in it", "`tls-key=FILE` names the file that has it"))
        }
        Err(_) => Err(error(path, "the private key in it is damaged", "write the file anew, as PEM")),
    }
}

fn warn_if_shared(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    // A group is how systems hand a key to a service.
    if mode & 0o007 != 0 {
        let path = path.display();
        log::warn!("the private key {path} is open to all users (mode {mode:03o})\n  hint: chmod 600 {path}");
    }
    Ok(())
}

/// The authorities that a file names.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, SourceError> {
    let mut store = RootCertStore::empty();
    let mut expired = None;
    for (certificate, facts) in certificates(path)? {
        // Whether an authority is out of its time nobody else would say.
        if let Some(reason) = is_out_of_time(&facts) {
            log::warn!("{}: {reason}: it is left out", path.display());
            expired = Some(reason);
            continue;
        }
        store.add(certificate).map_err(|_| {
            let reason = format!("the certificate of `{}` cannot be used as an authority", facts.subject);
            error(path, reason, "it is to be an X.509 certificate of version 3")
        })?;
    }
    match expired {
        Some(reason) if store.is_empty() => Err(error(path, reason, "name the authority's new certificate")),
        _ => Ok(store),
    }
}

/// The authorities that this system trusts.
pub(super) fn of_the_system() -> Result<RootCertStore, SourceError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (taken, left) = store.add_parsable_certificates(found.certs);
    log::debug!("the system's certificates: {taken} are used, {left} cannot be");
    found.errors.iter().for_each(|error| log::warn!("the system's certificates: {error}"));
    if store.is_empty() {
        let reason = found.errors.first().map_or("it has none".to_owned(), ToString::to_string);
        let hint =
            "install the system's package for them (ca-certificates), or name an authority: `tls=FILE`";
        return Err(error(Path::new("the system's store of certificates"), reason, hint));
    }
    Ok(store)
}
