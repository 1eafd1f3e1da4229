-- What was seen in the vaults, and when. Times are microseconds since 1970, UTC.

CREATE TABLE upload_seen (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    vault TEXT NOT NULL,
    upload TEXT NOT NULL,
    -- When it was initiated.
    created INTEGER NOT NULL,
    description TEXT,
    part_size INTEGER NOT NULL,
    -- What was found when its parts were last looked at.
    parts INTEGER,
    bytes INTEGER,
    digest BLOB,
    -- When it was first and last seen by somebody.
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    -- When its parts were last looked at, and the first look that found these.
    observed INTEGER,
    changed INTEGER,
    -- The first complete crawl of its vault that did not see it, and once that is beyond
    -- doubt, when it was first known to be gone.
    missing INTEGER,
    gone INTEGER,
    -- When the gateway asked Glacier to abort it, if Glacier may have done so.
    abort_asked INTEGER,
    PRIMARY KEY (account, region, vault, upload)
) STRICT, WITHOUT ROWID;

-- For what is to be dropped after a while.
CREATE INDEX upload_seen_gone ON upload_seen (gone) WHERE gone IS NOT NULL;

CREATE TABLE inventory_run (
    -- Goes up with time.
    id TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    -- The time of the schedule that it is for.
    tick INTEGER UNIQUE,
    -- Who asked for it, in which context, as JSON; and for what.
    caller TEXT NOT NULL,
    vaults TEXT NOT NULL,
    sizes INTEGER NOT NULL,
    finished INTEGER
) STRICT;

CREATE INDEX inventory_run_open ON inventory_run (created) WHERE finished IS NULL;

-- An account and region of a run. Whatever a process writes of it says `epoch = mine`.
CREATE TABLE inventory_lane (
    run TEXT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    -- waiting, listing, crawling, completed or failed.
    state TEXT NOT NULL,
    error TEXT,
    started INTEGER,
    finished INTEGER,
    -- What became of its vaults, once it is finished.
    crawled INTEGER NOT NULL DEFAULT 0,
    denied INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    uploads INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, account, region)
) STRICT, WITHOUT ROWID;

CREATE TABLE inventory_vault (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    vault TEXT NOT NULL,
    -- The run that looked through it last, how far it is, and where it goes on:
    -- waiting, listing, sizing, completed, denied or failed.
    run TEXT NOT NULL,
    state TEXT NOT NULL,
    begun INTEGER,
    marker TEXT,
    error TEXT,
    tried INTEGER,
    -- What was there when it was last looked through to its end, at `as_of`.
    as_of INTEGER,
    uploads INTEGER NOT NULL DEFAULT 0,
    sized INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    oldest INTEGER,
    older_1 INTEGER NOT NULL DEFAULT 0,
    older_7 INTEGER NOT NULL DEFAULT 0,
    older_30 INTEGER NOT NULL DEFAULT 0,
    older_90 INTEGER NOT NULL DEFAULT 0,
    older_365 INTEGER NOT NULL DEFAULT 0,
    -- Uploads that disappeared without the gateway's doing, by their age when last seen.
    gone INTEGER NOT NULL DEFAULT 0,
    gone_1 INTEGER NOT NULL DEFAULT 0,
    gone_7 INTEGER NOT NULL DEFAULT 0,
    gone_30 INTEGER NOT NULL DEFAULT 0,
    gone_90 INTEGER NOT NULL DEFAULT 0,
    gone_365 INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, region, vault)
) STRICT, WITHOUT ROWID;

-- Up to where the trail was read for aborts of the gateway's own: one row.
CREATE TABLE inventory_trail (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
) STRICT;
