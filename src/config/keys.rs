//! Every key there is, once: its names, its default, whether it is a secret.

/// A key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "what each key means stands at the field of `Settings` it becomes"
)]
pub enum Key {
    CloudlyUrl,
    JoinToken,
    CloudlyCa,
    AllowHttp,
    StateDir,
    RunDir,
    LockDir,
    Config,
    NodeName,
    Labels,
    Service,
    Log,
    LogFormat,
    AgentUrl,
    ApiHosts,
    SupervisorPoll,
    ReserveBytes,
    JournalBytes,
    Runtime,
    SupervisorAddress,
    SupervisorApiKey,
    AppId,
    ServiceName,
    DeviceUuid,
    DeviceType,
    DeviceArch,
    HostOsVersion,
}

/// What a key is called in each layer, and what holds when no layer has it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Which.
    pub key: Key,
    /// The name of the environment variable, under which people know it.
    pub env: &'static str,
    /// The name in the file; none: it cannot stand there.
    pub file: Option<&'static str>,
    /// The flag on the command line.
    pub flag: Option<&'static str>,
    /// The default, as somebody would write it.
    pub default: Option<&'static str>,
    /// Whether the value is never shown.
    pub secret: bool,
}

const fn ours(key: Key, env: &'static str, file: &'static str, default: Option<&'static str>) -> Spec {
    Spec {
        key,
        env,
        file: Some(file),
        flag: None,
        default,
        secret: false,
    }
}

/// Given by the Supervisor or by Onebox's environment; nobody writes it into a file.
const fn given(key: Key, env: &'static str) -> Spec {
    Spec {
        key,
        env,
        file: None,
        flag: None,
        default: None,
        secret: false,
    }
}

/// All keys, in the order they are shown; `Key as usize` is the place.
pub const SPECS: [Spec; 27] = [
    ours(Key::CloudlyUrl, "BASEOS_CLOUDLY_URL", "cloudly_url", None),
    Spec {
        secret: true,
        ..ours(Key::JoinToken, "BASEOS_JOIN_TOKEN", "join_token", None)
    },
    ours(Key::CloudlyCa, "BASEOS_CLOUDLY_CA", "cloudly_ca", None),
    ours(Key::AllowHttp, "BASEOS_ALLOW_HTTP", "allow_http", Some("0")),
    Spec {
        flag: Some("--state-dir"),
        ..ours(
            Key::StateDir,
            "BASEOS_STATE_DIR",
            "state_dir",
            Some("/data/baseos"),
        )
    },
    Spec {
        flag: Some("--run-dir"),
        ..ours(Key::RunDir, "BASEOS_RUN_DIR", "run_dir", Some("/run/baserunner"))
    },
    ours(Key::LockDir, "BASEOS_LOCK_DIR", "lock_dir", Some("/tmp/balena")),
    Spec {
        flag: Some("--config"),
        default: Some("/data/baseos/config.toml"),
        ..given(Key::Config, "BASEOS_CONFIG")
    },
    ours(Key::NodeName, "BASEOS_NODE_NAME", "node_name", None),
    ours(Key::Labels, "BASEOS_LABELS", "labels", None),
    ours(Key::Service, "BASEOS_SERVICE", "service", None),
    Spec {
        flag: Some("--log"),
        ..ours(Key::Log, "BASEOS_LOG", "log", Some("info"))
    },
    Spec {
        flag: Some("--log-format"),
        ..ours(Key::LogFormat, "BASEOS_LOG_FORMAT", "log_format", Some("text"))
    },
    ours(Key::AgentUrl, "BASEOS_AGENT_URL", "agent_url", None),
    ours(
        Key::ApiHosts,
        "BASEOS_API_HOSTS",
        "api_hosts",
        Some("localhost,127.0.0.1"),
    ),
    ours(
        Key::SupervisorPoll,
        "BASEOS_SUPERVISOR_POLL",
        "supervisor_poll",
        Some("30s"),
    ),
    ours(
        Key::ReserveBytes,
        "BASEOS_RESERVE_BYTES",
        "reserve_bytes",
        Some("64MiB"),
    ),
    ours(
        Key::JournalBytes,
        "BASEOS_JOURNAL_BYTES",
        "journal_bytes",
        Some("1MiB"),
    ),
    given(Key::Runtime, "SERVEZONE_RUNTIME"),
    given(Key::SupervisorAddress, "BALENA_SUPERVISOR_ADDRESS"),
    Spec {
        secret: true,
        ..given(Key::SupervisorApiKey, "BALENA_SUPERVISOR_API_KEY")
    },
    given(Key::AppId, "BALENA_APP_ID"),
    given(Key::ServiceName, "BALENA_SERVICE_NAME"),
    given(Key::DeviceUuid, "BALENA_DEVICE_UUID"),
    given(Key::DeviceType, "BALENA_DEVICE_TYPE"),
    given(Key::DeviceArch, "BALENA_DEVICE_ARCH"),
    given(Key::HostOsVersion, "BALENA_HOST_OS_VERSION"),
];

impl Key {
    /// Its names and default.
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }
}

/// The known name most like a wrong one, if one is like it at all.
pub(super) fn nearest(wrong: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let wrong = wrong.to_ascii_lowercase();
    // Somebody may write the variable's name into the file.
    let bare = wrong.strip_prefix("baseos_").unwrap_or(&wrong);
    known
        .map(|name| {
            let lower = name.to_ascii_lowercase();
            let like = distance(lower.strip_prefix("baseos_").unwrap_or(&lower), bare);
            (like, name)
        })
        .min()
        .filter(|(like, _)| *like <= (bare.len() / 3).max(1))
        .map(|(_, name)| name)
}

/// How many letters must be changed, put in or left out to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_key_has_its_place_and_its_own_names() {
        for (place, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.key as usize, place, "{}", spec.env);
            assert_eq!(spec.key.spec().env, spec.env);
        }
        assert_eq!(
            SPECS.iter().map(|spec| spec.env).collect::<BTreeSet<_>>().len(),
            SPECS.len()
        );
        let files: Vec<_> = SPECS.iter().filter_map(|spec| spec.file).collect();
        assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len());
    }

    #[test]
    fn a_typing_error_finds_the_key_and_nonsense_finds_none() {
        let files = || SPECS.iter().filter_map(|spec| spec.file);
        assert_eq!(nearest("cloudly_ulr", files()), Some("cloudly_url"));
        assert_eq!(nearest("BASEOS_LOG_FORMAT", files()), Some("log_format"));
        assert_eq!(nearest("jointoken", files()), Some("join_token"));
        assert_eq!(nearest("completely_else_where", files()), None);
        assert_eq!(nearest("", files()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
