-- Lifecycle rules, and their runs. Times are microseconds since 1970, UTC.

CREATE TABLE lifecycle_rule (
    rule TEXT PRIMARY KEY,
    -- The SHA-256 of what the rule says, and since when it says that.
    digest TEXT NOT NULL,
    since BIGINT NOT NULL,
    -- Whether a run of this rule, as it is, has reported what it would abort.
    reported BIGINT NOT NULL DEFAULT 0,
    -- Since when it does not run by itself, and why.
    paused BIGINT,
    why TEXT
);

CREATE TABLE lifecycle_run (
    rule TEXT NOT NULL,
    -- When it was due, or when somebody asked for it.
    scheduled BIGINT NOT NULL,
    -- Who asked for it, as JSON; nobody, if it was due.
    asked TEXT,
    digest TEXT NOT NULL,
    -- `report` or `abort`.
    mode TEXT NOT NULL,
    -- What its job is asked to do, as JSON, and the job once there is one.
    request TEXT NOT NULL,
    job TEXT,
    begun BIGINT NOT NULL,
    ended BIGINT,
    -- What became of it, and why; what the job found and did, as JSON.
    outcome TEXT,
    detail TEXT,
    preview TEXT,
    counts TEXT,
    PRIMARY KEY (rule, scheduled)
);

-- A rule has one run at a time.
CREATE UNIQUE INDEX lifecycle_run_open ON lifecycle_run (rule) WHERE outcome IS NULL;
