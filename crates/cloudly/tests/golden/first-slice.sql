PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE cloudly_schema (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL);
INSERT INTO cloudly_schema VALUES(1,1796061737874);
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta VALUES('pepper','6d6903d1a96a6da2a656b10ed87b0829a6cdd175120808a97e32a000c59e70ad');
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters VALUES('desired',2);
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
INSERT INTO join_tokens VALUES('RCU2tMZTxM','75022c85ba174b640ec8310f4045e2e680319786978054c8de2f39b949d62625',3,2,'edge','{"site":"berlin"}',0,0,1796061738005,'yBMpKqfnUo',1798653738005,NULL);
CREATE TABLE join_uses (
    token_id        TEXT NOT NULL,
    registration_id TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    taken_at        BIGINT NOT NULL,
    confirmed_at    BIGINT,
    released_at     BIGINT,
    PRIMARY KEY (token_id, registration_id)
);
INSERT INTO join_uses VALUES('RCU2tMZTxM','registration-edge-1','node_01M8PSYD0QSNYAAK',1796061738007,1796061738101,NULL);
INSERT INTO join_uses VALUES('RCU2tMZTxM','registration-edge-2','node_01M8PSYD0VJT0WP0',1796061738011,NULL,NULL);
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
INSERT INTO nodes VALUES('node_01M8PSYD0QSNYAAK','edge-1','{"name":"edge-1","hardwareId":"hw-1","agentVersion":"0.1.0"}','hw-1','{"site":"berlin"}','["commands"]','edge','approved',NULL,NULL,'active',NULL,1796061738007,1796061738101,0);
INSERT INTO nodes VALUES('node_01M8PSYD0VJT0WP0','edge-2','{"name":"edge-2","hardwareId":"hw-2","agentVersion":"0.1.0"}','hw-2','{"site":"berlin"}','["commands"]','edge','approved',NULL,NULL,'active',NULL,1796061738011,NULL,0);
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
INSERT INTO node_tokens VALUES('qEpWVqeGTn','2be661eccea0253dd7187af8c5eb45402816e7923da97d06e957d943f9a0c63a','node_01M8PSYD0QSNYAAK','current',1796061738007,1796061738101,NULL);
INSERT INTO node_tokens VALUES('gdY20Pk8Vy','64c312330be611f3a197a333d57057d502886ecba5a15f4d7b29c595deaf3eb8','node_01M8PSYD0VJT0WP0','current',1796061738011,NULL,NULL);
INSERT INTO node_tokens VALUES('w7K3x2GKLt','843c622155878da50c22524fe7038c09ba105dc43f44a95daa97c4800c7ff535','node_01M8PSYD0QSNYAAK','next',1796061738110,NULL,'cmd_01M8PSYD3VGHEGC0');
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
INSERT INTO node_presence VALUES('node_01M8PSYD0QSNYAAK',1796061738110,1796061798110,60,0,'r_1',8,NULL,0,2,NULL,0);
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
INSERT INTO node_status VALUES('node_01M8PSYD0QSNYAAK',1796061738101,'h1','{"supervisor":{"available":true,"version":"19.0.5","managed":false,"error":null},"os":{"name":"balenaOS","version":"6.5.24","variant":"prod"},"agent":{"version":"0.1.0","startedAt":"2026-11-23T11:00:00Z","restartCount":0,"state":"idle"},"release":{"running":"1f0a9be","previous":null,"services":{"onebox":{"image":"registry.example/onebox:1","status":"Running"}}},"update":{"kind":"app","state":"idle","target":null,"blockedBy":[],"error":null},"rollout":null,"network":{"ipAddresses":["10.0.4.17"],"macAddresses":[]},"health":{"state":"ok","issues":[]}}','idle',NULL,NULL,'1f0a9be');
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
INSERT INTO events VALUES(1,'node_01M8PSYD0QSNYAAK','event-1',1796061738101,1795435200000,'update.finished','{"commit":"1f0a9be"}');
CREATE TABLE releases (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    commit_id  TEXT NOT NULL UNIQUE,
    document   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
INSERT INTO releases VALUES(1,'rel_01M8PSYD0HX4TJA1','1f0a9be','{"releaseId":"rel_01M8PSYD0HX4TJA1","commit":"1f0a9be","version":"1.0.0","services":{"baserunner":{"image":"registry.example/baserunner:1","environment":{},"labels":{"io.balena.features.supervisor-api":"1"},"composition":{"volumes":["baseos:/data/baseos"]}},"onebox":{"image":"registry.example/onebox:1","environment":{},"labels":{},"composition":{}}},"volumes":{"baseos":{}},"networks":{}}',1796061738001,'yBMpKqfnUo');
CREATE TABLE desired (
    scope     TEXT PRIMARY KEY,
    commit_id TEXT,
    policy    TEXT NOT NULL,
    revision  BIGINT NOT NULL,
    set_at    BIGINT NOT NULL,
    set_by    TEXT NOT NULL
);
INSERT INTO desired VALUES('all','1f0a9be','{"windows":[],"maxDeferSeconds":604800,"maxAttempts":3,"healthSeconds":120,"applyTimeoutSeconds":3600,"onFailure":"rollback","heal":"restart","requireLocalApproval":false}',1,1796061738018,'yBMpKqfnUo');
INSERT INTO desired VALUES('node_01M8PSYD0QSNYAAK','1f0a9be','{"windows":[],"maxDeferSeconds":604800,"maxAttempts":3,"healthSeconds":120,"applyTimeoutSeconds":3600,"onFailure":"rollback","heal":"restart","requireLocalApproval":false}',2,1796061738026,'yBMpKqfnUo');
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
INSERT INTO commands VALUES(1,'cmd_01M8PSYD1ETZ9XCD','node_01M8PSYD0QSNYAAK','{"type":"checkNow","params":{}}',1796061738030,'yBMpKqfnUo',1798653738030,'{"id":"cmd_01M8PSYD1ETZ9XCD","state":"succeeded","finishedAt":"2026-11-23T12:00:00Z","message":null}',1796061738101);
INSERT INTO commands VALUES(2,'cmd_01M8PSYD1SZXFX9T','node_01M8PSYD0QSNYAAK','{"type":"collectLogs","params":{"lines":10}}',1796061738041,'yBMpKqfnUo',1798653738041,NULL,NULL);
INSERT INTO commands VALUES(3,'cmd_01M8PSYD3VGHEGC0','node_01M8PSYD0QSNYAAK','{"type":"rotateToken","params":{}}',1796061738107,'yBMpKqfnUo',1798653738107,NULL,NULL);
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at       BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT,
    data     TEXT NOT NULL
);
INSERT INTO audit VALUES(1,1796061738002,'yBMpKqfnUo','release.created','rel_01M8PSYD0HX4TJA1','{"commit":"1f0a9be","version":"1.0.0"}');
INSERT INTO audit VALUES(2,1796061738005,'yBMpKqfnUo','joinToken.created','RCU2tMZTxM','{"allowReplace":false,"expiresAt":"2026-12-30T18:02:18.005Z","fleet":"edge","maxUses":3,"requireApproval":false}');
INSERT INTO audit VALUES(3,1796061738009,'node_01M8PSYD0QSNYAAK','node.registered','node_01M8PSYD0QSNYAAK','{"approval":"approved","approvalReason":null,"joinToken":"RCU2tMZTxM","name":"edge-1","registrationId":"registration-edge-1"}');
INSERT INTO audit VALUES(4,1796061738012,'node_01M8PSYD0VJT0WP0','node.registered','node_01M8PSYD0VJT0WP0','{"approval":"approved","approvalReason":null,"joinToken":"RCU2tMZTxM","name":"edge-2","registrationId":"registration-edge-2"}');
INSERT INTO audit VALUES(5,1796061738018,'yBMpKqfnUo','desired.set','all','{"commit":"1f0a9be","force":null,"revision":1}');
INSERT INTO audit VALUES(6,1796061738027,'yBMpKqfnUo','desired.set','node_01M8PSYD0QSNYAAK','{"commit":"1f0a9be","force":null,"revision":2}');
INSERT INTO audit VALUES(7,1796061738031,'yBMpKqfnUo','command.created','node_01M8PSYD0QSNYAAK','{"command":"cmd_01M8PSYD1ETZ9XCD","type":"checkNow"}');
INSERT INTO audit VALUES(8,1796061738041,'yBMpKqfnUo','command.created','node_01M8PSYD0QSNYAAK','{"command":"cmd_01M8PSYD1SZXFX9T","type":"collectLogs"}');
INSERT INTO audit VALUES(9,1796061738102,'node_01M8PSYD0QSNYAAK','node.confirmed','node_01M8PSYD0QSNYAAK','{"nodeToken":"qEpWVqeGTn"}');
INSERT INTO audit VALUES(10,1796061738108,'yBMpKqfnUo','command.created','node_01M8PSYD0QSNYAAK','{"command":"cmd_01M8PSYD3VGHEGC0","type":"rotateToken"}');
INSERT INTO audit VALUES(11,1796061738111,'cloudly','node.tokenIssued','node_01M8PSYD0QSNYAAK','{"command":"cmd_01M8PSYD3VGHEGC0","nodeToken":"w7K3x2GKLt"}');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('releases',1);
INSERT INTO sqlite_sequence VALUES('audit',11);
INSERT INTO sqlite_sequence VALUES('commands',3);
INSERT INTO sqlite_sequence VALUES('events',1);
CREATE INDEX join_uses_node ON join_uses (node_id);
CREATE INDEX join_uses_open ON join_uses (taken_at) WHERE confirmed_at IS NULL AND released_at IS NULL;
CREATE INDEX nodes_hardware ON nodes (hardware_id) WHERE hardware_id IS NOT NULL;
CREATE INDEX events_node ON events (node_id, sequence);
CREATE INDEX commands_node ON commands (node_id, sequence);
CREATE INDEX commands_open ON commands (node_id) WHERE result IS NULL;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
COMMIT;
