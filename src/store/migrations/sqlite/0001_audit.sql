-- Times are microseconds since 1970, UTC. docs/audit.md says what the tables of the
-- trail hold.

CREATE TABLE audit_log (
    log INTEGER PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    month TEXT NOT NULL,
    -- Once the log is closed: its final size, and what audit_head said of its times.
    size INTEGER,
    earliest INTEGER,
    latest INTEGER,
    disorder INTEGER,
    -- Whether retention has dropped the entries.
    dropped INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Where the next entry goes: one row.
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    log INTEGER NOT NULL,
    next INTEGER NOT NULL,
    -- Between which times the log's events are, and how much earlier than one before it an
    -- event is at most. Searches by time rely on it, whatever the gateways' clocks said.
    earliest INTEGER,
    latest INTEGER,
    disorder INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE audit_entry (
    -- log << 40 | index
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    event BLOB NOT NULL,
    kind INTEGER NOT NULL,
    teams TEXT NOT NULL,
    leaf BLOB NOT NULL,
    entry BLOB NOT NULL
) STRICT;

-- IDs begin with their time, so most are put at the end.
CREATE INDEX audit_entry_event ON audit_entry (event);

-- Intents without an outcome.
CREATE TABLE audit_open (
    event BLOB PRIMARY KEY,
    replica TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tiles of level 1 and above. Those of level 0 are the entries' leaves.
CREATE TABLE audit_tile (
    log INTEGER NOT NULL,
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (log, level, idx)
) STRICT, WITHOUT ROWID;

-- The size to which a log's tiles are stored, and the checkpoint of that size; the note
-- is empty without a key.
CREATE TABLE audit_checkpoint (
    log INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;

-- Checkpoints that the store does not bear out, as signed notes. If `log` is the log
-- that is written, changes are refused; once the loss is accepted, it is an older one.
CREATE TABLE audit_lost (
    log INTEGER PRIMARY KEY,
    notes TEXT NOT NULL
) STRICT;

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;

-- The processes that share the store, and when each was last heard of.
CREATE TABLE replica (
    id TEXT PRIMARY KEY,
    seen INTEGER NOT NULL,
    -- Goes up when the process connects anew to append, so that nothing that it sent
    -- before is written afterwards.
    writer INTEGER NOT NULL DEFAULT 0
) STRICT;
