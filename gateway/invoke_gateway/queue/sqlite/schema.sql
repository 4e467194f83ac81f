-- name: events
-- The table of events. `seq` is the order of their coming and the key of an event; `lane`, `due_at`, `received_at` and
-- `request_id` are beside the head (event.py), which has them too, so that an index can answer with them.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    due_at REAL NOT NULL,
    received_at REAL NOT NULL,
    retrying INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL
);

-- name: clock
-- At most one row: seconds that the times of the events are ahead of the machine's clock, which was set since.
CREATE TABLE clock (offset REAL NOT NULL);

-- name: events_by_lane
-- Who is next in a lane. It also holds all that `waiting` and `find` read, so that neither goes through the bodies.
CREATE INDEX events_by_lane ON events (lane, due_at, seq, received_at, retrying, request_id);
