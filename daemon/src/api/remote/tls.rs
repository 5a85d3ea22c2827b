//! From PEM to what the TLS library wants, and from a client's certificate to a name.

use std::sync::Arc;

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::{config::RemoteOptions, model::Pem};

/// What is wrong with the files of `[control]`.
#[derive(Debug, thiserror::Error)]
#[error("control.{key}: {why}")]
pub struct BadTls {
    key: &'static str,
    why: String,
}

/// TLS 1.2 and 1.3 with these certificates, for HTTP/2 alone.
pub(super) fn server_config(options: &RemoteOptions) -> Result<Arc<ServerConfig>, BadTls> {
    let bad = |key: &'static str| move |why: String| BadTls { key, why };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&options.certificates).map_err(bad("tls_cert"))?;
    let key = PrivateKeyDer::from_pem_slice(options.key.reveal().as_bytes())
        .map_err(|error| bad("tls_key")(format!("holds no private key: {error}")))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| bad("tls_cert")(error.to_string()))?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities).map_err(bad("client_ca"))? {
                roots
                    .add(authority)
                    .map_err(|error| bad("client_ca")(error.to_string()))?;
            }
            // Who shows none may still have a token.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| bad("client_ca")(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| bad("tls_key")(format!("does not go with control.tls_cert: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.reveal().as_bytes()).collect();
    match read {
        Ok(read) if read.is_empty() => Err("holds no certificate".to_owned()),
        Ok(read) => Ok(read),
        Err(error) => Err(format!("holds a broken certificate: {error}")),
    }
}

/// What a checked certificate calls its holder: the common name, else the first DNS name or e-mail address.
pub(super) fn name_of(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let body = certificate.tbs_certificate();
    if let Some(name) = body.subject().common_name().ok()? {
        return Some(name.value().into_owned());
    }
    let (_, SubjectAltName(names)) = body.get_extension::<SubjectAltName>().ok()??;
    names.iter().find_map(|name| match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) => Some(name.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn named(common: Option<&str>, others: Vec<SanType>) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = others;
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        name_of(made.der())
    }

    #[test]
    fn certificates_name_their_holders() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let mail = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
        assert_eq!(named(Some("ann"), vec![dns("ben")]).as_deref(), Some("ann"));
        assert_eq!(
            named(None, vec![dns("gpu7.lab"), dns("x")]).as_deref(),
            Some("gpu7.lab")
        );
        let address = SanType::IpAddress([10, 0, 0, 1].into());
        assert_eq!(
            named(None, vec![address.clone(), mail("ann@lab.org")]).as_deref(),
            Some("ann@lab.org")
        );
        assert_eq!(named(None, vec![address]), None);
        assert_eq!(name_of(b"no certificate"), None);
    }
}
