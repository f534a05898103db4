-- Roles per cluster, preferences, tokens of the API, sessions that can be told apart, and an audit trail that stays as written.

-- The role on every cluster and on luci itself; NULL: only what `grants` gives.
ALTER TABLE users ADD COLUMN everywhere TEXT CHECK (everywhere IN ('viewer', 'operator', 'administrator'));
UPDATE users SET everywhere = role;
ALTER TABLE users DROP COLUMN role;
ALTER TABLE users ADD COLUMN theme TEXT NOT NULL DEFAULT 'auto' CHECK (theme IN ('auto', 'light', 'dark'));
ALTER TABLE users ADD COLUMN lines INTEGER NOT NULL DEFAULT 100;

-- The role on one cluster, beside the one everywhere; the higher of both counts.
CREATE TABLE grants (
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
    PRIMARY KEY (user_id, cluster_id)
) STRICT;

-- A token never may more than its account. With its cluster it goes, too: NULL means every cluster.
CREATE TABLE api_tokens (
    id         INTEGER PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
    cluster_id INTEGER REFERENCES clusters (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    used_at    INTEGER,
    UNIQUE (user_id, name)
) STRICT;

ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';

CREATE TRIGGER audit_is_not_altered BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is kept'); END;
