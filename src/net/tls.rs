//! Certificates: our own towards clients, and whom we trust towards providers. Reads files, so it runs off the hot path.

use crate::config::{Http2, Origin, Tls};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;

/// All origins of a configuration with what connecting to them needs, by `OriginId`. Made once, shared by all shards.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[Arc<Prepared>]>);

/// One origin, ready to be connected to.
#[derive(Debug)]
pub struct Prepared {
    pub(super) origin: Origin,
    /// As the `host` header and `:authority` say it: with the port, unless that is the scheme's own.
    pub(super) authority: String,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Origins {
    /// Reads the trusted certificates. The errors name the origin and what is wrong with it, all at once.
    pub fn prepare(origins: &[Origin]) -> Result<Self, Vec<String>> {
        let any = origins.iter().any(|origin| origin.tls);
        let roots = if any {
            system_roots()
        } else {
            RootCertStore::empty()
        };
        let (mut prepared, mut problems) = (Vec::new(), Vec::new());
        for origin in origins {
            match prepare(origin, &roots) {
                Ok(ready) => prepared.push(Arc::new(ready)),
                Err(problem) => problems.push(format!("{}: {problem}", origin.host)),
            }
        }
        if problems.is_empty() {
            Ok(Self(prepared.into()))
        } else {
            Err(problems)
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        self.0.iter()
    }
}

fn prepare(origin: &Origin, roots: &RootCertStore) -> Result<Prepared, String> {
    let tls = if origin.tls {
        Some(client_tls(origin, roots)?)
    } else {
        None
    };
    Ok(Prepared {
        authority: origin.authority(),
        tls,
        origin: origin.clone(),
    })
}

/// An IPv6 address without its brackets; any other host as it is.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn client_tls(
    origin: &Origin,
    roots: &RootCertStore,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let mut roots = roots.clone();
    if let Some(file) = &origin.ca {
        for certificate in certificates(file)? {
            roots
                .add(certificate)
                .map_err(|e| format!("{}: {e}", file.display()))?;
        }
    }
    let name = ServerName::try_from(bare(&origin.host).to_owned())
        .map_err(|_| "not a name that a certificate can be for".to_owned())?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match origin.http2 {
        Http2::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2::Always => vec![b"h2".to_vec()],
        Http2::Never => vec![b"http/1.1".to_vec()],
    };
    Ok((Arc::new(config), name))
}

/// The system's certificates; where it has none (small containers), the built-in ones.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// What clients are shown: HTTP/2 and HTTP/1.1 by ALPN. The error says which file is wrong, and how.
pub fn server(tls: &Tls) -> Result<Arc<ServerConfig>, String> {
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|e| format!("{}: {e}", tls.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates(&tls.certificate)?, key)
        .map_err(|e| format!("{}: {e}", tls.certificate.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |e: rustls_pki_types::pem::Error| format!("{}: {e}", file.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(wrong)?
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    if found.is_empty() {
        return Err(format!("{}: holds no certificate", file.display()));
    }
    Ok(found)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
