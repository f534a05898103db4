-- What the nodes' agents say of themselves, so that forms are drawn without asking a node. One schema per cluster and agent:
-- of the node that was asked last; which node has which version stands in node_agents.
CREATE TABLE agent_schemas (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    class      TEXT NOT NULL,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    schema     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, class, name)
) STRICT;

-- The list of installed agents that a node gave, as JSON.
CREATE TABLE node_agents (
    node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    class   TEXT NOT NULL,
    agents  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (node_id, class)
) STRICT;
