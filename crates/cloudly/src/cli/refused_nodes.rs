//! `cloudly node refused`.

use super::client::Client;
use super::output::{self, Outcome, time};
use baseos_interfaces::admin::RefusedNode;

pub(super) async fn list(client: &Client) -> Outcome {
    let nodes: Vec<RefusedNode> = client.all("refused-nodes").await?;
    let headers = ["TOKEN", "FROM", "FIRST", "LAST", "TIMES"];
    let row = |node: &RefusedNode| {
        [
            node.token_id.clone(),
            node.address.clone(),
            time(node.first_at),
            time(node.last_at),
            node.count.to_string(),
        ]
    };
    output::list(
        client.json,
        &nodes,
        headers,
        row,
        "no device was refused in the last 30 min",
    )?;
    if client.json || nodes.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::line(
        "This database does not know their tokens, e.g. since they enrolled after the backup that it was restored from. Their \
         apps go on. `cloudly token create` makes a join token, and `baserunner join TOKEN` on the device brings it back",
    )
}
