//! Asks registries which image a reference leads to, with the OCI distribution API: for each platform the digest of its
//! configuration, which is the engine's id of the image, and what there is to download.
//!
//! A registry is asked without credentials first. Those of a registry go to it and to the token server it names, never
//! along a redirect, and never into a message; no registry has anything done with those of another one.

mod address;
mod challenge;
mod client;
mod credentials;
mod error;
mod manifest;
#[cfg(test)]
mod tests;

use baseos_interfaces::desired::Service;
use baseos_interfaces::rules::ImageReference;
use clap::Args;
use client::RegistryClient;
use credentials::Credentials;
use error::RegistryError;
use manifest::Platforms;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// For one image, all its platforms together.
const TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Args)]
pub(super) struct RegistryArgs {
    /// Do not ask the registries which images these are
    #[arg(long)]
    no_registry: bool,
    /// Ask the registries over HTTP, without TLS; for tests
    #[arg(long)]
    registry_insecure: bool,
    /// Credentials for registries by host, in the form of docker's config.json; each is used for its registry alone
    #[arg(long, env = "CLOUDLY_REGISTRY_CREDENTIALS_FILE", value_parser = super::arguments::path())]
    registry_credentials: Option<PathBuf>,
}

/// Fills in what the registries say of the services' images, where a service does not say it already. Returns a sentence
/// for each image of which nothing could be found out.
///
/// # Errors
/// When the credentials cannot be read.
pub(super) async fn fill_in(
    arguments: &RegistryArgs,
    services: &mut BTreeMap<String, Service>,
) -> Result<Vec<String>, Box<dyn Error>> {
    if arguments.no_registry {
        return Ok(Vec::new());
    }
    let file = arguments.registry_credentials.as_ref();
    let credentials = match file.filter(|file| !file.as_os_str().is_empty()) {
        Some(file) => Credentials::read(file)?,
        None => Credentials::default(),
    };
    let client = RegistryClient::new(credentials, arguments.registry_insecure)?;
    let mut known: BTreeMap<String, Platforms> = BTreeMap::new();
    let mut problems = Vec::new();
    // A reference that is none is left to Cloudly, which says what is wrong with it.
    let open = |service: &&mut Service| {
        service.platforms.is_empty() && ImageReference::parse(&service.image).is_some()
    };
    for service in services.values_mut().filter(open) {
        if !known.contains_key(&service.image) {
            let resolved = tokio::time::timeout(TIME_MAX, client.resolve(&service.image)).await;
            let resolved = resolved.unwrap_or(Err(RegistryError::TooSlow));
            if let Err(error) = &resolved {
                problems.push(format!(
                    "{}: {error}; the release goes without this image's digest and size",
                    service.image
                ));
            }
            known.insert(service.image.clone(), resolved.unwrap_or_default());
        }
        if let Some(platforms) = known.get(&service.image) {
            service.platforms.clone_from(platforms);
        }
    }
    Ok(problems)
}
