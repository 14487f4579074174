-- What grows without an operator's doing is deleted when it is old (src/storage/retention.rs). This finds it.

-- Since when the node is in its lifecycle; what was removed before this column counts as removed now.
ALTER TABLE nodes ADD COLUMN lifecycle_at BIGINT;
UPDATE nodes SET lifecycle_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE lifecycle = 'removed';
CREATE INDEX nodes_ended ON nodes (lifecycle) WHERE lifecycle IN ('removed', 'abandoned');

CREATE INDEX events_received ON events (received_at);
CREATE INDEX commands_ended ON commands (COALESCE(result_at, expires_at));

-- What operators did is kept for ever; what devices can cause any number of is not.
CREATE INDEX audit_routine ON audit (at)
    WHERE action IN ('joinToken.refused', 'node.refused', 'node.registeredAgain');
DROP TRIGGER audit_is_not_deleted;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN OLD.action NOT IN ('joinToken.refused', 'node.refused', 'node.registeredAgain')
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
