-- Times are milliseconds since the UNIX epoch. JSON columns hold the types of the crate `shared`.

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
    created_at    INTEGER NOT NULL
) STRICT;

-- Only hashes of tokens are stored, so that a copy of the file opens no session.
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    csrf       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    flash      TEXT
) STRICT;

CREATE TABLE setup_links (
    token_hash TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE clusters (
    id              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    state           TEXT NOT NULL CHECK (state IN ('creating', 'managed')),
    created_at      INTEGER NOT NULL,
    status          TEXT,
    status_at       INTEGER,
    status_from     TEXT
) STRICT;

CREATE TABLE nodes (
    id           INTEGER PRIMARY KEY,
    cluster_id   INTEGER REFERENCES clusters (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    host         TEXT NOT NULL,
    port         INTEGER NOT NULL,
    fingerprint  TEXT,
    paired_at    INTEGER,
    report       TEXT,
    report_at    INTEGER,
    silent_since INTEGER,
    silent_why   TEXT,
    UNIQUE (cluster_id, name)
) STRICT;

-- accepted = 0: sent to a node, no answer yet.
CREATE TABLE conf_versions (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    text       TEXT NOT NULL,
    author     TEXT,
    message    TEXT NOT NULL,
    origin     TEXT NOT NULL CHECK (origin IN ('luci', 'node')),
    at         INTEGER NOT NULL,
    accepted   INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, version, digest)
) STRICT;

CREATE TABLE requests (
    id         TEXT PRIMARY KEY,
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    service    TEXT,
    node       TEXT,
    command    TEXT NOT NULL,
    user_name  TEXT NOT NULL,
    at         INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('sending', 'accepted', 'refused', 'done', 'failed', 'lost')),
    member     TEXT,
    text       TEXT,
    ended_at   INTEGER
) STRICT;
CREATE INDEX requests_by_cluster ON requests (cluster_id, at DESC);

CREATE TABLE events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster_id   INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    at           INTEGER NOT NULL,
    subject_kind TEXT NOT NULL,
    subject      TEXT NOT NULL,
    severity     TEXT NOT NULL,
    kind         TEXT NOT NULL,
    text         TEXT NOT NULL,
    reason       TEXT
) STRICT;
CREATE INDEX events_by_cluster ON events (cluster_id, at DESC);

CREATE TABLE tasks (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    cluster_id   INTEGER REFERENCES clusters (id) ON DELETE CASCADE,
    input        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('running', 'confirm', 'failed', 'done', 'given-up')),
    confirmed_at INTEGER,
    user_name    TEXT NOT NULL,
    at           INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

CREATE TABLE task_steps (
    task_id    TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    stage      INTEGER NOT NULL,
    node_id    INTEGER NOT NULL,
    step       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    text       TEXT NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER,
    PRIMARY KEY (task_id, stage, node_id)
) STRICT;

-- Names, not references: the trail stays when a user or a cluster goes.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    user_name TEXT NOT NULL,
    address   TEXT NOT NULL,
    cluster   TEXT,
    action    TEXT NOT NULL,
    object    TEXT NOT NULL,
    detail    TEXT NOT NULL,
    result    TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is kept'); END;
