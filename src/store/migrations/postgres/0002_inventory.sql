-- What was seen in the vaults, and when. Times are microseconds since 1970, UTC.

CREATE TABLE upload_seen (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    vault TEXT COLLATE "C" NOT NULL,
    upload TEXT COLLATE "C" NOT NULL,
    -- When it was initiated.
    created BIGINT NOT NULL,
    description TEXT,
    part_size BIGINT NOT NULL,
    -- What was found when its parts were last looked at.
    parts BIGINT,
    bytes BIGINT,
    digest BYTEA,
    -- When it was first and last seen by somebody.
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    -- When its parts were last looked at, and the first look that found these.
    observed BIGINT,
    changed BIGINT,
    -- The first complete crawl of its vault that did not see it, and once that is beyond
    -- doubt, when it was first known to be gone.
    missing BIGINT,
    gone BIGINT,
    -- When the gateway asked Glacier to abort it, if Glacier may have done so.
    abort_asked BIGINT,
    PRIMARY KEY (account, region, vault, upload)
);

-- For what is to be dropped after a while.
CREATE INDEX upload_seen_gone ON upload_seen (gone) WHERE gone IS NOT NULL;

CREATE TABLE inventory_run (
    -- Goes up with time.
    id TEXT COLLATE "C" PRIMARY KEY,
    created BIGINT NOT NULL,
    -- The time of the schedule that it is for.
    tick BIGINT UNIQUE,
    -- Who asked for it, in which context, as JSON; and for what.
    caller TEXT NOT NULL,
    vaults TEXT NOT NULL,
    sizes BIGINT NOT NULL,
    finished BIGINT
);

CREATE INDEX inventory_run_open ON inventory_run (created) WHERE finished IS NULL;

-- An account and region of a run. Whatever a process writes of it says `epoch = mine`.
CREATE TABLE inventory_lane (
    run TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    -- waiting, listing, crawling, completed or failed.
    state TEXT NOT NULL,
    error TEXT,
    started BIGINT,
    finished BIGINT,
    -- What became of its vaults, once it is finished.
    crawled BIGINT NOT NULL DEFAULT 0,
    denied BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    uploads BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (run, account, region)
);

CREATE TABLE inventory_vault (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    vault TEXT COLLATE "C" NOT NULL,
    -- The run that looked through it last, how far it is, and where it goes on:
    -- waiting, listing, sizing, completed, denied or failed.
    run TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    begun BIGINT,
    marker TEXT,
    error TEXT,
    tried BIGINT,
    -- What was there when it was last looked through to its end, at `as_of`.
    as_of BIGINT,
    uploads BIGINT NOT NULL DEFAULT 0,
    sized BIGINT NOT NULL DEFAULT 0,
    bytes BIGINT NOT NULL DEFAULT 0,
    oldest BIGINT,
    older_1 BIGINT NOT NULL DEFAULT 0,
    older_7 BIGINT NOT NULL DEFAULT 0,
    older_30 BIGINT NOT NULL DEFAULT 0,
    older_90 BIGINT NOT NULL DEFAULT 0,
    older_365 BIGINT NOT NULL DEFAULT 0,
    -- Uploads that disappeared without the gateway's doing, by their age when last seen.
    gone BIGINT NOT NULL DEFAULT 0,
    gone_1 BIGINT NOT NULL DEFAULT 0,
    gone_7 BIGINT NOT NULL DEFAULT 0,
    gone_30 BIGINT NOT NULL DEFAULT 0,
    gone_90 BIGINT NOT NULL DEFAULT 0,
    gone_365 BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (account, region, vault)
);

-- Up to where the trail was read for aborts of the gateway's own: one row.
CREATE TABLE inventory_trail (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL
);
