//! rustls says whether a certificate is to be trusted; these only remember whose it was that it refused.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::x509::Facts;

/// Whose certificate was refused last, until somebody asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<Option<Facts>>>);

impl Refused {
    pub(super) fn take(&self) -> Option<Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// `verified`, of `certificate`.
    fn remember<T>(&self, certificate: &CertificateDer<'_>, verified: Result<T, Error>) -> Result<T, Error> {
        if verified.is_err() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Facts::of(certificate);
        }
        verified
    }
}

/// Checks a server's certificate.
#[derive(Debug)]
pub(super) struct OfServers {
    pub(super) by: Arc<dyn ServerCertVerifier>,
    pub(super) refused: Refused,
}

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.by.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        self.refused.remember(end_entity, verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by.supported_verify_schemes()
    }
}

/// Checks a client's certificate.
#[derive(Debug)]
pub(super) struct OfClients {
    pub(super) by: Arc<dyn ClientCertVerifier>,
    pub(super) refused: Refused,
}

impl ClientCertVerifier for OfClients {
    fn offer_client_auth(&self) -> bool {
        self.by.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.by.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.by.verify_client_cert(end_entity, intermediates, now);
        self.refused.remember(end_entity, verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by.supported_verify_schemes()
    }
}
