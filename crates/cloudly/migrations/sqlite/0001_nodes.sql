-- What a node is (nodes), whether it is there (node_presence), how it is (node_status) and what happened (events, audit)
-- change at different rates, so they are separate tables. Times are Unix milliseconds, booleans 0 or 1, documents JSON
-- text, MACs hex: types that every SQL database has.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row, `desired`: the last revision issued. It only rises.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('desired', 0);

CREATE TABLE join_tokens (
    id               TEXT PRIMARY KEY,
    mac              TEXT NOT NULL,
    max_uses         BIGINT NOT NULL,
    uses             BIGINT NOT NULL DEFAULT 0,
    fleet            TEXT,
    labels           TEXT NOT NULL,
    require_approval BIGINT NOT NULL,
    allow_replace    BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    created_by       TEXT NOT NULL,
    expires_at       BIGINT NOT NULL,
    revoked_at       BIGINT
);

-- A use of a join token belongs to one registration. The node's first heartbeat confirms it, or it is given back.
CREATE TABLE join_uses (
    token_id        TEXT NOT NULL,
    registration_id TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    taken_at        BIGINT NOT NULL,
    confirmed_at    BIGINT,
    released_at     BIGINT,
    PRIMARY KEY (token_id, registration_id)
);
CREATE INDEX join_uses_node ON join_uses (node_id);
CREATE INDEX join_uses_open ON join_uses (taken_at) WHERE confirmed_at IS NULL AND released_at IS NULL;

CREATE TABLE nodes (
    id                  TEXT PRIMARY KEY,
    name                TEXT NOT NULL,
    facts               TEXT NOT NULL,
    hardware_id         TEXT,
    labels              TEXT NOT NULL,
    capabilities        TEXT NOT NULL,
    fleet               TEXT,
    approval            TEXT NOT NULL,
    approval_reason     TEXT,
    approval_decided_at BIGINT,
    -- active, suspended, removed; abandoned: its join-token use was given back before its first heartbeat.
    lifecycle           TEXT NOT NULL,
    clone_suspected_at  BIGINT,
    enrolled_at         BIGINT NOT NULL,
    confirmed_at        BIGINT,
    -- The node's revision never falls below this one, with which its own target was last removed.
    desired_floor       BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX nodes_hardware ON nodes (hardware_id) WHERE hardware_id IS NOT NULL;

CREATE TABLE node_tokens (
    id            TEXT PRIMARY KEY,
    mac           TEXT NOT NULL,
    node_id       TEXT NOT NULL,
    slot          TEXT NOT NULL,
    issued_at     BIGINT NOT NULL,
    first_used_at BIGINT,
    -- The rotateToken command it was issued for, if any.
    command_id    TEXT,
    UNIQUE (node_id, slot)
);

-- Written often and in batches: no index but the primary key, no foreign key.
CREATE TABLE node_presence (
    node_id          TEXT PRIMARY KEY,
    last_seen_at     BIGINT NOT NULL,
    next_due_at      BIGINT NOT NULL,
    interval_seconds BIGINT NOT NULL,
    goodbye          BIGINT NOT NULL,
    run_id           TEXT NOT NULL,
    sequence         BIGINT NOT NULL,
    previous_run_id  TEXT,
    run_returns      BIGINT NOT NULL,
    observed         BIGINT NOT NULL,
    skew_since       BIGINT,
    skew_seconds     BIGINT NOT NULL
);

-- Written only when a status arrives; the columns beside the document are for lists and rollouts.
CREATE TABLE node_status (
    node_id        TEXT PRIMARY KEY,
    received_at    BIGINT NOT NULL,
    status_hash    TEXT NOT NULL,
    status         TEXT NOT NULL,
    update_state   TEXT NOT NULL,
    rollout_state  TEXT,
    target_commit  TEXT,
    running_commit TEXT
);

CREATE TABLE events (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    node_id     TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    data        TEXT NOT NULL,
    UNIQUE (node_id, event_id)
);
CREATE INDEX events_node ON events (node_id, sequence);

CREATE TABLE releases (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    commit_id  TEXT NOT NULL UNIQUE,
    document   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- Targets: of `all` nodes without one of their own, or of one node by id.
CREATE TABLE desired (
    scope     TEXT PRIMARY KEY,
    commit_id TEXT,
    policy    TEXT NOT NULL,
    revision  BIGINT NOT NULL,
    set_at    BIGINT NOT NULL,
    set_by    TEXT NOT NULL
);

CREATE TABLE commands (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    node_id    TEXT NOT NULL,
    action     TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    issued_by  TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    result     TEXT,
    result_at  BIGINT
);
CREATE INDEX commands_node ON commands (node_id, sequence);
CREATE INDEX commands_open ON commands (node_id) WHERE result IS NULL;

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at       BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT,
    data     TEXT NOT NULL
);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
