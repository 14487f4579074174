//! Performs each [`SupervisorCall`] as one request (`Inspect` as several).

use super::client::SupervisorClient;
use super::http::supervisor_error;
use super::inspect::inspect;
use super::log_text::{LOG_MAX_BYTES, log_text};
use super::request::Request;
use crate::lifecycle::effect::SupervisorCall;
use crate::lifecycle::event::SupervisorAnswer;
use crate::lifecycle::facts::{SupervisorError, SupervisorErrorKind};
use crate::lifecycle::supervisor_target::LocalTarget;
use serde_json::{Value, json};

/// # Errors
/// When the Supervisor cannot be reached or does not accept the call.
pub(super) async fn perform(
    client: &SupervisorClient,
    call: SupervisorCall,
) -> Result<SupervisorAnswer, SupervisorError> {
    let accepted = |()| SupervisorAnswer::Accepted;
    match call {
        SupervisorCall::Inspect => {
            let inspection = inspect(client).await?;
            Ok(SupervisorAnswer::Inspected(Box::new(inspection)))
        }
        SupervisorCall::ApplyTarget { target, force } => {
            let body = target_body(&target, force)?;
            client
                .execute(Request::post("/v2/local/target-state", body))
                .await
                .map(accepted)
        }
        SupervisorCall::TriggerUpdate { force } => {
            let body = json!({ "force": force, "cancel": force });
            client
                .submit(Request::post("/v1/update", body))
                .await
                .map(accepted)
        }
        SupervisorCall::RestartApp { app_id } => {
            let path = format!("/v2/applications/{app_id}/restart");
            client
                .execute(Request::post(&path, json!({ "force": true })))
                .await
                .map(accepted)
        }
        SupervisorCall::RestartService { app_id, service } => {
            act_on_service(client, app_id, "restart-service", &service)
                .await
                .map(accepted)
        }
        SupervisorCall::StopService { app_id, service } => {
            act_on_service(client, app_id, "stop-service", &service)
                .await
                .map(accepted)
        }
        SupervisorCall::StartService { app_id, service } => {
            act_on_service(client, app_id, "start-service", &service)
                .await
                .map(accepted)
        }
        SupervisorCall::Reboot => client
            .submit(Request::post("/v1/reboot", json!({})))
            .await
            .map(accepted),
        SupervisorCall::CollectLogs { lines } => {
            let body = json!({ "count": lines, "all": true, "follow": false, "format": "short" });
            let request = Request::post("/v2/journal-logs", body);
            let (tail, truncated) = client.tail(request, 2 * LOG_MAX_BYTES).await?;
            Ok(SupervisorAnswer::Logs(log_text(
                &tail,
                truncated,
                client.api_key(),
            )))
        }
    }
}

async fn act_on_service(
    client: &SupervisorClient,
    app_id: u64,
    action: &str,
    service: &str,
) -> Result<(), SupervisorError> {
    let path = format!("/v2/applications/{app_id}/{action}");
    client
        .execute(Request::post(&path, json!({ "serviceName": service })))
        .await
}

/// The body of a target post. `force` is a member beside the target and absent when false.
fn target_body(target: &LocalTarget, force: bool) -> Result<Value, SupervisorError> {
    // An empty body would remove every app on the device, so only an object is sent.
    let Ok(Value::Object(mut body)) = serde_json::to_value(target) else {
        return Err(supervisor_error(
            SupervisorErrorKind::Refused,
            "the target cannot be written as JSON; nothing was sent".to_owned(),
        ));
    };
    if force {
        body.insert("force".to_owned(), Value::Bool(true));
    }
    Ok(Value::Object(body))
}
