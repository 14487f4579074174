//! The control API.

use crate::fixture::{Fixture, LIMIT};
use baseos_simulator::harness::{Address, call, ensure, wait_until};

#[tokio::test]
async fn the_control_api_sets_faults_and_stops_containers() {
    let fixture = Fixture::running().await;
    let control = Address::parse(&fixture.device.control_url()).unwrap();
    let send = async |method: &str, path: &str, body: &str| {
        call(&control, method, path, None, Some(body.to_owned()))
            .await
            .unwrap()
    };
    let fault = r#"{"path":"/v2/version","count":1,"kind":{"status":{"code":500}}}"#;
    assert_eq!(send("POST", "/sim/faults", fault).await.status, 200);
    let version = fixture.call("GET", "/v2/version", None).await.unwrap();
    assert_eq!(version.status, 500);
    let requests = send("GET", "/sim/requests", "").await.body;
    assert!(requests.contains("/v2/version"), "{requests}");
    assert_eq!(send("POST", "/sim/container/onebox/stop", "").await.status, 200);
    let stopped = async || {
        let state = send("GET", "/sim/state", "").await.body;
        ensure(state.contains("exited"), || state)
    };
    wait_until("onebox is stopped", LIMIT, stopped).await.unwrap();
    let target = send("GET", "/sim/target", "").await;
    let asked = fixture.call("GET", "/v2/local/target-state", None).await.unwrap();
    assert_eq!((target.status, target.body), (200, asked.body));
    assert_eq!(send("POST", "/sim/nonsense", "").await.status, 404);
}
