//! The agent's configuration: defaults, then the file, then the environment, then the command line; a later layer
//! wins. The layers are merged once and parsed once, and all errors are reported together.
//!
//! | file | what |
//! |---|---|
//! | `keys.rs` | every key, its names, its default |
//! | `settings.rs` | what the keys mean |
//! | `parse.rs` | how values are written |

mod env;
mod error;
mod file;
mod keys;
mod layer;
mod overrides;
mod parse;
mod release;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod validate;
mod values;

pub use env::{Environment, FAILPOINT};
pub use error::{ConfigError, ConfigErrors};
pub use keys::{Key, SPECS, Spec};
pub use layer::Layer;
pub use overrides::Overrides;
pub use release::check_environment;
pub use settings::{ApiAddress, Device, EffectiveValue, Settings, SupervisorAccess};
pub use source::Source;

use std::path::Path;
use values::Values;

/// Loads the configuration from all its layers.
///
/// # Errors
/// All errors, each with its key, its value (secrets masked) and what is expected instead.
pub fn load(environment: &Environment, overrides: &Overrides) -> Result<Settings, ConfigErrors> {
    let (env, command_line) = (environment.layer(), overrides.layer());
    let explicit = command_line.get(Key::Config).or_else(|| env.get(Key::Config));
    let path = explicit.or_else(|| Key::Config.spec().default).map(Path::new);
    let mut wrong = file::Wrong::default();
    let file = path.map(|path| file::read(path, explicit.is_some(), &mut wrong));
    let layers = [Layer::defaults()]
        .into_iter()
        .chain(file)
        .chain([env, command_line]);
    let mut values = Values::merge(layers);
    values.errors = wrong.errors;
    values.problems = wrong.problems;
    validate::settings(values, environment.warnings())
}
