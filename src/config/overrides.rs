//! The command-line layer.

use super::keys::Key;
use super::layer::Layer;
use super::source::Source;
use secrecy::ExposeSecret as _;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The values of the command-line flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub state_dir: Option<PathBuf>,
    pub run_dir: Option<PathBuf>,
    pub log: Option<String>,
    pub log_format: Option<String>,
    pub config: Option<PathBuf>,
}

impl Overrides {
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::new(Source::CommandLine);
        layer.set(Key::StateDir, text(self.state_dir.as_deref()));
        layer.set(Key::RunDir, text(self.run_dir.as_deref()));
        layer.set(Key::Log, self.log.as_ref());
        layer.set(Key::LogFormat, self.log_format.as_ref());
        layer.set(Key::Config, text(self.config.as_deref()));
        layer
    }

    /// The same as variables of the environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let (_, values) = self.layer().into_parts();
        let variables = values
            .into_iter()
            .map(|(key, value)| (key.spec().env, value.expose_secret().to_owned()));
        variables.collect()
    }
}

fn text(path: Option<&Path>) -> Option<Cow<'_, str>> {
    path.map(Path::to_string_lossy)
}
