//! What the agent is told: defaults, then the file, then the environment, then the command line; a later layer
//! wins. They are merged once, and read once; everything that is wrong is said at once.
//!
//! | read first | what |
//! |---|---|
//! | `keys.rs` | every key, its names, its default |
//! | `settings.rs` | what the keys mean |
//! | `read.rs` | how values are written |

mod env;
mod error;
mod file;
mod keys;
mod layer;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod validate;

pub use env::{Environment, FAILPOINT};
pub use error::{ConfigError, ConfigErrors};
pub use keys::{Key, SPECS, Spec};
pub use layer::{Layer, Source};
pub use settings::{ApiAddress, Device, LogFormat, Row, Settings, SupervisorAccess};

use layer::Values;
use std::path::{Path, PathBuf};

/// What the command line says; made by the CLI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--run-dir`.
    pub run_dir: Option<PathBuf>,
    /// `--log`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
}

impl Overrides {
    fn layer(&self) -> Layer {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let mut layer = Layer::new(Source::CommandLine);
        layer.set(Key::StateDir, text(&self.state_dir));
        layer.set(Key::RunDir, text(&self.run_dir));
        layer.set(Key::Log, self.log.as_ref());
        layer.set(Key::LogFormat, self.log_format.as_ref());
        layer.set(Key::Config, text(&self.config));
        layer
    }
}

/// Reads the configuration from all its layers.
///
/// # Errors
/// Everything that is wrong with it, each with its key, its value (secrets masked) and what would be right.
pub fn load(environment: &Environment, overrides: &Overrides) -> Result<Settings, ConfigErrors> {
    let (env, command_line) = (environment.layer(), overrides.layer());
    let asked_for = command_line.get(Key::Config).or_else(|| env.get(Key::Config));
    let path = asked_for.or_else(|| Key::Config.spec().default).map(Path::new);
    let mut errors = Vec::new();
    let file = path.map(|path| file::read(path, asked_for.is_some(), &mut errors));
    let layers = [Layer::defaults()]
        .into_iter()
        .chain(file)
        .chain([env, command_line]);
    let mut values = Values::merge(layers);
    values.errors = errors;
    validate::settings(values, environment.warnings())
}
