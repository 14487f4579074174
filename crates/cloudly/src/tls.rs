//! TLS with a certificate and a key from files. Renewed ones are taken up without a restart: each connection looks whether
//! the files are others than those that are in use.

use crate::auth::key_file::{KeyError, check_mode};
use crate::settings::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsAcceptor;

/// A chain of certificates has some kilobytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why connections cannot be encrypted. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the file {} for TLS: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Mode(#[from] KeyError),
    #[error(
        "{} holds no certificate: give the server's certificate and those between it and the authority, in PEM, each between \
         BEGIN CERTIFICATE and END CERTIFICATE",
        .0.display()
    )]
    NoCertificate(PathBuf),
    #[error("{} holds no private key: give one in PEM that is not encrypted, e.g. between BEGIN PRIVATE KEY and END PRIVATE KEY", .0.display())]
    NoKey(PathBuf),
    #[error("the certificate in {} and the key in {} cannot be used together: {error}", certificate.display(), key.display())]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        error: rustls::Error,
    },
}

/// The certificate in use.
pub(crate) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// The files that were read last, whether they could be used or not.
    seen: Option<[Version; 2]>,
}

/// Tells a file from a later one at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Tls {
    /// # Errors
    /// When the files cannot be used.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Before they are read: what is written meanwhile is read again.
        let seen = versions(&files);
        let config = read(&files)?;
        Ok(Self {
            files,
            current: Mutex::new(Current { config, seen }),
        })
    }

    /// For the next connection. Files that cannot be used are told of once, and the certificate before stays in use.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = versions(&self.files);
        if seen != current.seen {
            current.seen = seen;
            match read(&self.files) {
                Ok(config) => {
                    current.config = config;
                    tracing::info!(certificate = %self.files.certificate.display(), "the renewed TLS certificate is in use");
                }
                Err(error) => {
                    tracing::error!(%error, "the TLS certificate before stays in use");
                }
            }
        }
        Arc::clone(&current.config).into()
    }
}

fn versions(files: &TlsFiles) -> Option<[Version; 2]> {
    let version = |path: &Path| std::fs::metadata(path).ok().map(|file| Version::of(&file));
    Some([version(&files.certificate)?, version(&files.key)?])
}

impl Version {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        }
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let no_certificate = |_: pem::Error| TlsError::NoCertificate(files.certificate.clone());
    let text = text_of(&files.certificate, false)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(no_certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text_of(&files.key, true)?)
        .map_err(|_| TlsError::NoKey(files.key.clone()))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| TlsError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error,
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn text_of(path: &Path, is_secret: bool) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::File {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    if is_secret {
        check_mode(&file, path)?;
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}
