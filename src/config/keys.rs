//! All configuration keys: their names, defaults, and whether they are secret.

use baseos_interfaces::rules::{AGENT_SERVICE_VARIABLE, AGENT_STATE_DIR, AGENT_STATE_DIR_VARIABLE};

/// What each key means is documented at the field of `Settings` it sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    CloudlyUrl,
    JoinToken,
    CloudlyCa,
    AllowHttp,
    Proxy,
    NoProxy,
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
    GuardBudget,
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

/// A key's name in each layer, and its default.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub key: Key,
    /// The environment variable; also the key's name in `baserunner config`.
    pub env: &'static str,
    /// The name in the file; `None`: the key cannot be set there.
    pub file: Option<&'static str>,
    /// The command-line flag.
    pub flag: Option<&'static str>,
    /// The default, unparsed.
    pub default: Option<&'static str>,
    /// Whether the value is masked wherever it is shown.
    pub secret: bool,
}

const fn configurable(
    key: Key,
    env: &'static str,
    file: &'static str,
    default: Option<&'static str>,
) -> Spec {
    Spec {
        key,
        env,
        file: Some(file),
        flag: None,
        default,
        secret: false,
    }
}

/// A key that cannot be set in the file: the file's own path, and what the Supervisor or Onebox's environment sets.
const fn not_in_file(key: Key, env: &'static str) -> Spec {
    Spec {
        key,
        env,
        file: None,
        flag: None,
        default: None,
        secret: false,
    }
}

/// All keys, in the order of `baserunner config`; `Key as usize` is the index.
pub const SPECS: [Spec; 30] = [
    configurable(Key::CloudlyUrl, "BASEOS_CLOUDLY_URL", "cloudly_url", None),
    Spec {
        secret: true,
        ..configurable(Key::JoinToken, "BASEOS_JOIN_TOKEN", "join_token", None)
    },
    configurable(Key::CloudlyCa, "BASEOS_CLOUDLY_CA", "cloudly_ca", None),
    configurable(Key::AllowHttp, "BASEOS_ALLOW_HTTP", "allow_http", Some("0")),
    configurable(Key::Proxy, "BASEOS_PROXY", "proxy", None),
    configurable(Key::NoProxy, "BASEOS_NO_PROXY", "no_proxy", None),
    Spec {
        flag: Some("--state-dir"),
        ..configurable(
            Key::StateDir,
            AGENT_STATE_DIR_VARIABLE,
            "state_dir",
            Some(AGENT_STATE_DIR),
        )
    },
    Spec {
        flag: Some("--run-dir"),
        ..configurable(Key::RunDir, "BASEOS_RUN_DIR", "run_dir", Some("/run/baserunner"))
    },
    configurable(Key::LockDir, "BASEOS_LOCK_DIR", "lock_dir", Some("/tmp/balena")),
    Spec {
        flag: Some("--config"),
        default: Some("/data/baseos/config.toml"),
        ..not_in_file(Key::Config, "BASEOS_CONFIG")
    },
    configurable(Key::NodeName, "BASEOS_NODE_NAME", "node_name", None),
    configurable(Key::Labels, "BASEOS_LABELS", "labels", None),
    configurable(Key::Service, AGENT_SERVICE_VARIABLE, "service", None),
    Spec {
        flag: Some("--log"),
        ..configurable(Key::Log, "BASEOS_LOG", "log", Some("info"))
    },
    Spec {
        flag: Some("--log-format"),
        ..configurable(Key::LogFormat, "BASEOS_LOG_FORMAT", "log_format", Some("text"))
    },
    configurable(Key::AgentUrl, "BASEOS_AGENT_URL", "agent_url", None),
    configurable(
        Key::ApiHosts,
        "BASEOS_API_HOSTS",
        "api_hosts",
        Some("localhost,127.0.0.1"),
    ),
    configurable(
        Key::SupervisorPoll,
        "BASEOS_SUPERVISOR_POLL",
        "supervisor_poll",
        Some("30s"),
    ),
    configurable(
        Key::ReserveBytes,
        "BASEOS_RESERVE_BYTES",
        "reserve_bytes",
        Some("64MiB"),
    ),
    configurable(
        Key::JournalBytes,
        "BASEOS_JOURNAL_BYTES",
        "journal_bytes",
        Some("1MiB"),
    ),
    configurable(
        Key::GuardBudget,
        "BASEOS_GUARD_BUDGET",
        "guard_budget",
        Some("10m"),
    ),
    not_in_file(Key::Runtime, "SERVEZONE_RUNTIME"),
    not_in_file(Key::SupervisorAddress, "BALENA_SUPERVISOR_ADDRESS"),
    Spec {
        secret: true,
        ..not_in_file(Key::SupervisorApiKey, "BALENA_SUPERVISOR_API_KEY")
    },
    not_in_file(Key::AppId, "BALENA_APP_ID"),
    not_in_file(Key::ServiceName, "BALENA_SERVICE_NAME"),
    not_in_file(Key::DeviceUuid, "BALENA_DEVICE_UUID"),
    not_in_file(Key::DeviceType, "BALENA_DEVICE_TYPE"),
    not_in_file(Key::DeviceArch, "BALENA_DEVICE_ARCH"),
    not_in_file(Key::HostOsVersion, "BALENA_HOST_OS_VERSION"),
];

impl Key {
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_interfaces::agent_variables::AGENT_VARIABLES;
    use std::collections::BTreeSet;

    #[test]
    fn each_key_is_its_index_and_has_unique_names() {
        for (index, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.key as usize, index, "{}", spec.env);
            assert_eq!(spec.key.spec().env, spec.env);
        }
        assert_eq!(
            SPECS.iter().map(|spec| spec.env).collect::<BTreeSet<_>>().len(),
            SPECS.len()
        );
        let own = SPECS
            .iter()
            .map(|spec| spec.env)
            .filter(|env| env.starts_with("BASEOS_"));
        assert!(
            own.eq(AGENT_VARIABLES),
            "others are told of the names in the contract"
        );
        let files: Vec<_> = SPECS.iter().filter_map(|spec| spec.file).collect();
        assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len());
    }
}
