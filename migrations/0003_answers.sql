-- Answers of the API under idempotency keys; status NULL: the request is under way.
CREATE TABLE answers (
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at          INTEGER NOT NULL,
    status      INTEGER,
    kind        TEXT,
    location    TEXT,
    body        TEXT,
    PRIMARY KEY (user_id, key)
) STRICT;
CREATE INDEX answers_by_age ON answers (at);
