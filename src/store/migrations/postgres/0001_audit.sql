-- Times are microseconds since 1970, UTC. docs/audit.md says what the tables of the
-- trail hold.

CREATE TABLE audit_log (
    log BIGINT PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    month TEXT NOT NULL,
    -- Once the log is closed: its final size, and what audit_head said of its times.
    size BIGINT,
    earliest BIGINT,
    latest BIGINT,
    disorder BIGINT,
    -- Whether retention has dropped the entries.
    dropped BIGINT NOT NULL DEFAULT 0
);

-- Where the next entry goes: one row. There is room beside it, since each commit writes it
-- anew.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    log BIGINT NOT NULL,
    next BIGINT NOT NULL,
    -- Between which times the log's events are, and how much earlier than one before it an
    -- event is at most. Searches by time rely on it, whatever the gateways' clocks said.
    earliest BIGINT,
    latest BIGINT,
    disorder BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

CREATE TABLE audit_entry (
    -- log << 40 | index
    position BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    event BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    teams TEXT NOT NULL,
    leaf BYTEA NOT NULL,
    entry BYTEA NOT NULL
);

-- IDs begin with their time, so most are put at the end.
CREATE INDEX audit_entry_event ON audit_entry (event);

-- Intents without an outcome.
CREATE TABLE audit_open (
    event BYTEA PRIMARY KEY,
    replica TEXT NOT NULL,
    position BIGINT NOT NULL
);

-- Tiles of level 1 and above. Those of level 0 are the entries' leaves.
CREATE TABLE audit_tile (
    log BIGINT NOT NULL,
    level BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (log, level, idx)
);

-- The size to which a log's tiles are stored, and the checkpoint of that size; the note
-- is empty without a key.
CREATE TABLE audit_checkpoint (
    log BIGINT PRIMARY KEY,
    size BIGINT NOT NULL,
    note TEXT NOT NULL
);

-- Checkpoints that the store does not bear out, as signed notes. If `log` is the log
-- that is written, changes are refused; once the loss is accepted, it is an older one.
CREATE TABLE audit_lost (
    log BIGINT PRIMARY KEY,
    notes TEXT NOT NULL
);

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    until BIGINT NOT NULL
);

-- The processes that share the store, and when each was last heard of.
CREATE TABLE replica (
    id TEXT PRIMARY KEY,
    seen BIGINT NOT NULL,
    -- Goes up when the process connects anew to append, so that nothing that it sent
    -- before is written afterwards.
    writer BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
