-- Jobs that abort uploads in bulk. Times are microseconds since 1970, UTC.

CREATE TABLE job (
    -- Goes up with time.
    id TEXT PRIMARY KEY,
    team TEXT NOT NULL,
    -- As the API names it; `creating` before its items are all there.
    state TEXT NOT NULL,
    -- Goes up with each change.
    revision BIGINT NOT NULL DEFAULT 1,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    finished BIGINT,
    -- When it stops, however far it is.
    expires BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    paused_until BIGINT,
    -- What was asked for, as JSON, without a list of uploads.
    request TEXT NOT NULL,
    -- Who asked for it and who confirmed it, in which context, as JSON.
    creator TEXT NOT NULL,
    confirmer TEXT,
    -- What a confirmation must show: it stands for the items that there are.
    token TEXT,
    -- Of whoever prepares it; what it writes says `epoch = mine`.
    epoch BIGINT NOT NULL DEFAULT 0,
    -- What the preparation found, as JSON.
    preview TEXT,
    -- Why it failed.
    error_code TEXT,
    error TEXT,
    -- Items by what became of them. What is in hand is claimed; what is left is neither.
    selected BIGINT NOT NULL DEFAULT 0,
    claimed BIGINT NOT NULL DEFAULT 0,
    aborted BIGINT NOT NULL DEFAULT 0,
    gone BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    skipped BIGINT NOT NULL DEFAULT 0,
    unknown BIGINT NOT NULL DEFAULT 0,
    -- Outcomes of processes that were stopped for too long, and items that were begun again
    -- although an earlier call may have succeeded.
    late BIGINT NOT NULL DEFAULT 0,
    repeats BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX job_team ON job (team, id);
CREATE INDEX job_unfinished ON job (state) WHERE finished IS NULL;

-- An account and region in which a job has items.
CREATE TABLE job_lane (
    job TEXT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    PRIMARY KEY (job, account, region)
);

CREATE TABLE job_item (
    job TEXT NOT NULL,
    n BIGINT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    vault TEXT NOT NULL,
    upload TEXT NOT NULL,
    -- What was seen when the job was prepared.
    created BIGINT,
    description TEXT,
    parts BIGINT,
    bytes BIGINT,
    digest BYTEA,
    -- Since when the parts are known to be these.
    since BIGINT,
    decision TEXT,
    -- found (to be looked at), waiting, claimed, and what became of it.
    state TEXT NOT NULL,
    code TEXT,
    not_before BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    -- Who has claimed it: the lease's epoch, and the ID that its record has or will have.
    epoch BIGINT,
    event BYTEA,
    ended BIGINT,
    PRIMARY KEY (job, n)
);

-- SQLite uses them only for queries that say exactly this of the state.
CREATE INDEX job_item_found ON job_item (job, account, region, n) WHERE state = 'found';
CREATE INDEX job_item_waiting ON job_item (job, account, region, not_before, n)
    WHERE state = 'waiting';
CREATE INDEX job_item_claimed ON job_item (account, region) WHERE state = 'claimed';

-- Idempotency keys, by the hash of whose they are, and of what was asked with them.
CREATE TABLE job_key (
    scope BYTEA PRIMARY KEY,
    asked BYTEA NOT NULL,
    job TEXT NOT NULL,
    created BIGINT NOT NULL
);
