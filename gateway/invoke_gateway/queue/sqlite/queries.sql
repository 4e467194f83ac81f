-- name: write
-- One event as it is now, new or not; the writer repeats the row of values, so that many events are one statement.
REPLACE INTO events (seq, lane, due_at, received_at, retrying, request_id, head, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: delete
-- Ends events, as many as the list of JSON has keys.
DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))

-- name: lane
-- What is in a lane behind one event, in the order of its handing out.
SELECT seq, due_at FROM events WHERE lane = ? AND (due_at, seq) > (?, ?) ORDER BY due_at, seq

-- name: event
-- One event.
SELECT seq, lane, due_at, head, body FROM events WHERE seq = ?

-- name: oldest
-- The first events of a lane.
SELECT seq, lane, due_at, head, body FROM events WHERE lane = ? ORDER BY due_at, seq LIMIT ?

-- name: find
-- Events of one request id; the keys are found by a walk along the index, not through the bodies.
SELECT seq, lane, due_at, head, body FROM events WHERE seq IN (
    SELECT seq FROM events INDEXED BY events_by_lane WHERE request_id = ? LIMIT ?
) ORDER BY seq

-- name: waiting
-- What waits in each lane, without the events in the list of JSON.
SELECT lane, count(*), sum(retrying), min(due_at), min(received_at)
FROM events INDEXED BY events_by_lane WHERE seq NOT IN (SELECT value FROM json_each(?)) GROUP BY lane

-- name: last
-- The last key.
SELECT coalesce(max(seq), 0) FROM events
