//! `cloudly node events`.

use super::client::Client;
use super::output::{self, Outcome, time};
use baseos_interfaces::admin::{EventRecord, Page};

pub(super) async fn list(client: &Client, node: &str, limit: u32) -> Outcome {
    let id = client.node_id(node).await?;
    let page: Page<EventRecord> = client.get(&format!("nodes/{id}/events?limit={limit}")).await?;
    let row = |record: &EventRecord| {
        let event = &record.event;
        [
            time(record.received_at),
            time(event.at),
            event.kind.to_string(),
            event.data.to_string(),
        ]
    };
    let headers = ["RECEIVED", "ON THE DEVICE", "TYPE", "DATA"];
    output::list(client.json, &page.items, headers, row, "nothing was reported yet")
}
