//! Names the options of the command line where a server names the members of a request.

use super::client::ClientError;
use std::error::Error;

/// Members that are given by an option, and the option.
const OPTIONS: [(&str, &str); 9] = [
    ("allowReplace", "--allow-replace"),
    ("forceTtlSeconds", "--force-for"),
    ("healthSeconds", "--health"),
    ("maxAttempts", "--max-attempts"),
    ("maxUses", "--uses"),
    ("onFailure", "--on-failure"),
    ("requireApproval", "--require-approval"),
    ("requireRollback", "--require-rollback"),
    ("ttlSeconds", "--ttl"),
];

/// What a server refused, in the words of the command line.
pub(super) fn named(error: Box<dyn Error>) -> Box<dyn Error> {
    match error.downcast::<ClientError>() {
        Ok(error) => match *error {
            ClientError::Refused(text) => ClientError::Refused(in_options(&text)).into(),
            other => other.into(),
        },
        Err(error) => error,
    }
}

/// Replaces each member, and each JSON pointer to one, by its option.
fn in_options(text: &str) -> String {
    let is_separator = |c: char| !c.is_alphanumeric() && !matches!(c, '/' | '_' | '-');
    let replaced = text.split_inclusive(is_separator).map(|part| {
        let word = part.trim_end_matches(is_separator);
        let end = &part[word.len()..];
        let member = word.strip_prefix("/policy").unwrap_or(word);
        let member = member.strip_prefix('/').unwrap_or(member);
        let option = OPTIONS.iter().find(|(name, _)| *name == member);
        format!("{}{end}", option.map_or(word, |(_, option)| option))
    });
    replaced.collect()
}

#[cfg(test)]
mod tests {
    use super::super::command_line;
    use super::*;

    #[test]
    fn members_are_named_by_their_options_and_other_words_are_kept() {
        for (text, expected) in [
            ("maxUses is 1 to 100000", "--uses is 1 to 100000"),
            (
                "wrong:\n  /policy/maxAttempts: too small\n  /ttlSeconds: too large",
                "wrong:\n  --max-attempts: too small\n  --ttl: too large",
            ),
            ("`healthSeconds`, (onFailure).", "`--health`, (--on-failure)."),
            (
                "/services/maxUses/image and maxUsesOfIt, maxé",
                "/services/maxUses/image and maxUsesOfIt, maxé",
            ),
            ("", ""),
        ] {
            assert_eq!(in_options(text), expected);
        }
    }

    #[test]
    fn every_option_exists() {
        let command = command_line();
        let commands = command.get_subcommands().flat_map(clap::Command::get_subcommands);
        let options: Vec<_> = commands
            .flat_map(clap::Command::get_arguments)
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        for (_, option) in OPTIONS {
            assert!(options.iter().any(|known| known == option), "{option}");
        }
    }
}
