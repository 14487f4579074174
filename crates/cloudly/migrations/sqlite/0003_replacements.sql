-- New devices for known nodes, from their registration to their first heartbeat, which makes the node what is described
-- here. Until then their tokens and their uses of join tokens stand under the id of the replacement.

CREATE TABLE replacements (
    id          TEXT PRIMARY KEY,
    node_id     TEXT NOT NULL,
    description TEXT NOT NULL
);
CREATE INDEX replacements_node ON replacements (node_id);

-- For the nodes behind the uses that are given back.
CREATE INDEX join_uses_released ON join_uses (released_at) WHERE released_at IS NOT NULL;
