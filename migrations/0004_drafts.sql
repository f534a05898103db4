-- Edits that are reviewed together and applied as one version; one draft per account and cluster. It outlives the session.
CREATE TABLE drafts (
    id         INTEGER PRIMARY KEY,
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    base       INTEGER NOT NULL,
    steps      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (cluster_id, user_id)
) STRICT;
