//! The usage line below an error of the command line.

use clap::Command;
use clap::error::{ContextKind, ContextValue};

/// Gives an error the usage of its command as help shows it. clap's own, made for the error, names what is there beside
/// what is missing, and so takes an option that a variable sets for one that must be written.
pub(super) fn as_in_help(mut error: clap::Error, command: &mut Command) -> clap::Error {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return error;
    };
    let usage = usage.to_string();
    let mut found = command;
    // After "Usage:" and the program's name come the commands.
    for name in usage.split_whitespace().skip(2) {
        if found.find_subcommand(name).is_none() {
            break;
        }
        let Some(below) = found.find_subcommand_mut(name) else {
            return error;
        };
        found = below;
    }
    let usage = ContextValue::StyledStr(found.render_usage());
    error.insert(ContextKind::Usage, usage);
    error
}
