-- What testing a node's fence methods came to, rung by rung; the last result of each rung from each node that ran it.
CREATE TABLE fence_tests (
    cluster_id  INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    node        TEXT NOT NULL,
    tester      TEXT NOT NULL,
    method      TEXT NOT NULL,
    device      TEXT NOT NULL,
    rung        TEXT NOT NULL,
    verdict     TEXT NOT NULL CHECK (verdict IN ('passed', 'failed', 'doubtful', 'not-applicable')),
    code        INTEGER,
    output      TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    -- Of the node's methods as they were then: another one says that the result is about something else.
    methods     TEXT NOT NULL,
    PRIMARY KEY (cluster_id, node, tester, method, device, rung)
) STRICT;

-- One row per power cycle that was asked for to prove the fencing of a node. Filled as things are seen to happen.
CREATE TABLE fence_proofs (
    task_id      TEXT PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
    cluster_id   INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    node         TEXT NOT NULL,
    user_name    TEXT NOT NULL,
    methods      TEXT NOT NULL,
    -- luci has put the node in standby for it, and ends that.
    standby      INTEGER NOT NULL,
    boot_before  TEXT NOT NULL,
    -- The last fencing known before, so that the new one is told from it.
    fenced_before TEXT,
    asked_at     INTEGER NOT NULL,
    lost_at      INTEGER,
    method       TEXT,
    fencer       TEXT,
    answer       TEXT NOT NULL,
    fenced_at    INTEGER,
    boot_after   TEXT,
    back_at      INTEGER,
    verdict      TEXT NOT NULL CHECK (verdict IN ('under-way', 'proven', 'disproved', 'failed'))
) STRICT;
