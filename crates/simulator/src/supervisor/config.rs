//! What a Supervisor is and where it runs.

use crate::supervisor::timing::Timing;

/// The defaults are those of the recordings.
#[derive(Clone, Debug)]
pub struct Config {
    /// 32 hex digits.
    pub device_uuid: String,
    /// The global API key of a managed Supervisor; an unmanaged one asks for none.
    pub api_key: String,
    /// Whether it gets its target from a backend (`apiEndpoint` is set).
    pub managed: bool,
    pub version: String,
    /// Name and version.
    pub os_version: String,
    pub arch: String,
    pub device_type: String,
    /// Separated by spaces.
    pub ip_address: String,
    /// Separated by spaces.
    pub mac_address: String,
    /// Where containers reach this API: `BALENA_SUPERVISOR_ADDRESS`.
    pub address: String,
    /// The port that it reports.
    pub api_port: u16,
    pub timing: Timing,
    /// Wall clock at model time zero, milliseconds since 1970.
    pub epoch_millis: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device_uuid: "d15ca1ab1e0ddba11c0ffee0cafe0001".to_owned(),
            api_key: "5f0e1d2c3b4a59687766554433221100".to_owned(),
            managed: false,
            version: "19.0.5".to_owned(),
            os_version: "balenaOS 6.5.24".to_owned(),
            arch: "amd64".to_owned(),
            device_type: "generic-amd64".to_owned(),
            ip_address: "198.51.100.2".to_owned(),
            mac_address: "B6:65:30:CB:33:D1".to_owned(),
            address: "http://127.0.0.1:48484".to_owned(),
            api_port: 48484,
            timing: Timing::recorded(),
            epoch_millis: 1_795_389_000_000,
        }
    }
}
