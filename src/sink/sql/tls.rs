//! TLS with a database: whom to trust, and what this side shows.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::sink::sql::SqlError;
use crate::sink::sql::server::Tls;

/// The longest file that is read.
const LONGEST: u64 = 16 << 20;

fn refuse(path: &Path, reason: impl std::fmt::Display) -> SqlError {
    SqlError::Tls { reason: format!("{}: {reason}", path.display()) }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SqlError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refuse(path, error))?;
    match file.take(LONGEST + 1).read_to_end(&mut bytes) {
        Ok(read) if read as u64 <= LONGEST => Ok(bytes),
        Ok(_) => Err(refuse(path, "it is too long for certificates")),
        Err(error) => Err(refuse(path, error)),
    }
}

/// The certificates of those who are trusted: a file of PEM, or each on its own as DER.
pub(super) fn authorities(tls: &Tls) -> Result<Vec<Vec<u8>>, SqlError> {
    if let Some(path) = &tls.trust {
        return Ok(vec![read(path)?]);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(": {error}"));
        let reason = format!(
            "this system trusts nobody{why}\n  hint: install its authorities (Debian: `ca-certificates`), or say `tls=FILE`"
        );
        return Err(SqlError::Tls { reason });
    }
    Ok(found.certs.into_iter().map(|certificate| certificate.as_ref().to_vec()).collect())
}

#[cfg(feature = "postgres")]
pub(super) use postgres::connector;

#[cfg(feature = "postgres")]
mod postgres {
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::{authorities, read, refuse};
    use crate::sink::sql::SqlError;
    use crate::sink::sql::server::Tls;

    /// Makes TLS of a connection to PostgreSQL.
    #[derive(Clone)]
    pub(in super::super) struct Connector {
        config: Arc<ClientConfig>,
        name: Option<String>,
    }

    /// What `tls` says; its files are read.
    pub(in super::super) fn connector(tls: &Tls) -> Result<Connector, SqlError> {
        let failed = |error: rustls::Error| SqlError::Tls { reason: error.to_string() };
        let mut roots = RootCertStore::empty();
        for bytes in authorities(tls)? {
            let Some(path) = &tls.trust else {
                // One that cannot be used is left out: nobody chose it.
                let _ = roots.add(CertificateDer::from(bytes));
                continue;
            };
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate = certificate.map_err(|_| refuse(path, "a certificate in it is damaged"))?;
                roots.add(certificate).map_err(|error| refuse(path, error))?;
            }
            if roots.is_empty() {
                return Err(refuse(
                    path,
                    "there is no certificate in it\n  hint: it is to be PEM, with `-----BEGIN CERTIFICATE-----`",
                ));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(failed)?.with_root_certificates(roots);
        let config = match &tls.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = read(certificate)?;
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
                let chain = chain.map_err(|_| refuse(certificate, "a certificate in it is damaged"))?;
                let private = PrivateKeyDer::from_pem_slice(&read(key)?);
                let private =
                    private.map_err(|_| refuse(key, "there is no private key in it that can be used"))?;
                config.with_client_auth_cert(chain, private).map_err(|error| refuse(certificate, error))?
            }
        };
        Ok(Connector { config: Arc::new(config), name: tls.name.clone() })
    }

    impl MakeTlsConnect<tokio_postgres::Socket> for Connector {
        type Stream = Stream;
        type TlsConnect = Connect;
        type Error = io::Error;

        fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
            let name = self.name.clone().unwrap_or_else(|| host.to_owned());
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            Ok(Connect { connector: TlsConnector::from(Arc::clone(&self.config)), name })
        }
    }

    pub(in super::super) struct Connect {
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl TlsConnect<tokio_postgres::Socket> for Connect {
        type Stream = Stream;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

        fn connect(self, socket: tokio_postgres::Socket) -> Self::Future {
            Box::pin(async move { Ok(Stream(self.connector.connect(self.name, socket).await?)) })
        }
    }

    pub(in super::super) struct Stream(TlsStream<tokio_postgres::Socket>);

    impl tokio_postgres::tls::TlsStream for Stream {
        fn channel_binding(&self) -> ChannelBinding {
            ChannelBinding::none()
        }
    }

    impl AsyncRead for Stream {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            to: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, to)
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }
}
