//! Recorded answers of a Supervisor 19.0.5, without irrelevant members.

/// `GET /v1/device` without a backend and before the first app.
pub(super) const UNMANAGED_DEVICE: &str = r#"{"api_port": 48484, "ip_address": "198.51.100.2", "os_version": "balenaOS 6.5.24",
"mac_address": "B6:65:30:CB:33:D1", "supervisor_version": "19.0.5", "update_pending": false,
"update_failed": false, "update_downloaded": false}"#;

/// `GET /v2/state/status` in the same state.
pub(super) const UNMANAGED_STATUS: &str = r#"{"status": "success", "appState": "applied", "overallDownloadProgress": null, "containers": [],
"images": []}"#;

/// `GET /v1/device` with a backend and an app.
pub(super) const MANAGED_DEVICE: &str = r#"{"api_port": 48484, "ip_address": "198.51.100.2", "os_version": "balenaOS 6.5.24",
"mac_address": "F2:62:FA:F0:FD:B1 22:62:67:3E:3F:04", "supervisor_version": "19.0.5",
"update_pending": false, "update_failed": false, "update_downloaded": false,
"commit": "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2", "status": "Idle", "download_progress": null}"#;

/// `GET /v2/state/status` in the same state.
pub(super) const MANAGED_STATUS: &str = r#"{"status": "success", "appState": "applied", "overallDownloadProgress": null,
"containers": [{"status": "Running", "serviceName": "main", "appId": 4242, "imageId": 602,
"serviceId": 501,
"containerId": "783ab49edeeef116be8c16ab2b332cfd08f8470f5addbec5600fcdff6ff82b54",
"createdAt": "2026-11-22T23:02:15.215Z"}],
"images": [{"name": "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000002@sha256:a4f1c15f3635f2f444efd19348986e6029590a0cf551fdb5f16291e196ba16ea",
"appId": 4242, "serviceName": "main", "imageId": 602,
"dockerImageId": "sha256:97986a099b36a09055b41fd89ed9983e11f6cbdbf8798a8c61ac4b7631b304f3",
"status": "Downloaded", "downloadProgress": null}],
"release": "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"}"#;

/// `GET /v1/device` while an update lock blocks an update.
pub(super) const LOCKED_DEVICE: &str = r#"{"api_port": 48484, "ip_address": "198.51.100.2", "os_version": "balenaOS 6.5.24",
"mac_address": "F2:62:FA:F0:FD:B1 22:62:67:3E:3F:04", "supervisor_version": "19.0.5",
"update_pending": true, "update_failed": true, "update_downloaded": true, "status": "Idle",
"download_progress": null}"#;

/// `GET /v2/state/status` during a download.
pub(super) const APPLYING_STATUS: &str = r#"{"status": "success", "appState": "applying", "overallDownloadProgress": 13,
"containers": [{"status": "Running", "serviceName": "main", "appId": 1, "imageId": 1,
"serviceId": 1, "containerId": "e4e61657"}],
"images": [{"name": "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000002@sha256:a4f1c15f3635f2f444efd19348986e6029590a0cf551fdb5f16291e196ba16ea",
"appId": 1, "serviceName": "main", "imageId": 2, "status": "Downloading", "downloadProgress": 13,
"dockerImageId": ""},
{"name": "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000001@sha256:795a739f70fbee398429f64ce90ce6740095781c708f821a17ef6c3bab0f58ab",
"appId": 1, "serviceName": "main", "imageId": 1, "dockerImageId": "f3121029",
"status": "Downloaded", "downloadProgress": null}],
"release": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"}"#;

/// `GET /v2/local/target-state` with two services and two volumes; an environment contains a secret.
pub(super) const TARGET: &str = r#"{"status": "success", "state": {"local": {"name": "lab-device",
"config": {"SUPERVISOR_LOCAL_MODE": "true", "SUPERVISOR_POLL_INTERVAL": "900000",
"HOST_FIREWALL_MODE": "off"}, "apps": {"1": {"isTargetState": true, "appId": 1, "appUuid": "1",
"appName": "baserunner", "commit": "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2", "source": "local",
"isHost": false, "isRejected": false, "services": [{"appId": 1, "appUuid": "1", "imageId": 2,
"config": {"image": "sha256:97986a099b36a09055b41fd89ed9983e11f6cbdbf8798a8c61ac4b7631b304f3",
"running": true, "labels": {"io.balena.features.supervisor-api": "1",
"io.balena.features.dbus": "1"}, "environment": {"FOO": "bar", "BALENA_APP_ID": "1",
"BALENA_APP_UUID": "1", "PASSWORD": "hunter2"}}, "serviceName": "main",
"commit": "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2", "releaseId": 2, "serviceId": 1,
"imageName": "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000002@sha256:a4f1c15f3635f2f444efd19348986e6029590a0cf551fdb5f16291e196ba16ea",
"dependsOn": null,
"dockerImageId": "sha256:97986a099b36a09055b41fd89ed9983e11f6cbdbf8798a8c61ac4b7631b304f3"},
{"appId": 1, "appUuid": "1", "imageId": 21,
"config": {"image": "sha256:f31210298a17bfc633c8e9f2cbdc281079b11aaac4740a889582215e9faca0bc",
"running": true, "labels": {"io.balena.features.supervisor-api": "1",
"io.balena.supervised": "true"}, "environment": {"BALENA_APP_ID": "1", "BALENA_APP_UUID": "1",
"BALENA_APP_NAME": "baserunner"}}, "serviceName": "side",
"commit": "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2", "releaseId": 2, "serviceId": 2,
"imageName": "127.0.0.1:5000/v2/aaaabbbbccccddddeeeeffff00000001@sha256:795a739f70fbee398429f64ce90ce6740095781c708f821a17ef6c3bab0f58ab",
"dependsOn": ["main"],
"dockerImageId": "sha256:f31210298a17bfc633c8e9f2cbdc281079b11aaac4740a889582215e9faca0bc"}],
"networks": [], "volumes": [{"name": "data", "appId": 1, "appUuid": "1",
"config": {"driverOpts": {}, "driver": "local", "labels": {"io.balena.supervised": "true",
"io.balena.app-uuid": "1"}}}, {"name": "bindvol", "appId": 1, "appUuid": "1",
"config": {"driverOpts": {"type": "none", "o": "bind", "device": "/mnt/data/host"},
"driver": "local", "labels": {"io.balena.supervised": "true", "io.balena.app-uuid": "1"}}}]}}}}}"#;
