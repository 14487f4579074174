-- The runs of the agent that use the node's identity, as a document: more than two of them, each with when it was heard.

ALTER TABLE node_presence ADD COLUMN runs TEXT NOT NULL DEFAULT '{"runs":[],"current":""}';

UPDATE node_presence SET runs = json_object(
    'runs', json_array(json_object(
        'id', run_id, 'sequence', sequence, 'firstAt', last_seen_at, 'heardAt', json_array(last_seen_at))),
    'current', run_id);

ALTER TABLE node_presence DROP COLUMN run_id;
ALTER TABLE node_presence DROP COLUMN sequence;
ALTER TABLE node_presence DROP COLUMN previous_run_id;
ALTER TABLE node_presence DROP COLUMN run_returns;
