-- Written by `python -m dfs_migrations.schema` from the migrations. Do not edit: a test compares.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES ('0002');
CREATE TABLE entries (
	id INTEGER NOT NULL,
	parent_id INTEGER,
	name TEXT NOT NULL,
	kind VARCHAR(16) NOT NULL,
	version_id INTEGER,
	mode INTEGER,
	mtime_ns BIGINT,
	copies SMALLINT,
	CONSTRAINT pk_entries PRIMARY KEY (id),
	CONSTRAINT uq_entries_parent_id_name UNIQUE (parent_id, name),
	CONSTRAINT fk_entries_parent_id FOREIGN KEY(parent_id) REFERENCES entries (id),
	CONSTRAINT ck_entries_kind CHECK (kind IN ('file', 'directory')),
	CONSTRAINT ck_entries_shape CHECK ((kind = 'file' AND version_id IS NOT NULL AND copies IS NULL) OR (kind = 'directory' AND version_id IS NULL AND mode IS NOT NULL AND mtime_ns IS NOT NULL)),
	CONSTRAINT ck_entries_copies CHECK (copies BETWEEN 1 AND 16),
	CONSTRAINT ck_entries_parent CHECK ((parent_id IS NULL) = (id IN (1, 2)))
);
INSERT INTO "entries" VALUES (1, NULL, '', 'directory', NULL, 493, 0, NULL);
INSERT INTO "entries" VALUES (2, NULL, 'removed', 'directory', NULL, 493, 0, NULL);
CREATE TABLE versions (
	id INTEGER NOT NULL,
	entry_id INTEGER NOT NULL,
	size BIGINT NOT NULL,
	digest BLOB NOT NULL,
	mtime_ns BIGINT NOT NULL,
	mode INTEGER NOT NULL,
	created_at BIGINT NOT NULL,
	removed_at BIGINT,
	CONSTRAINT pk_versions PRIMARY KEY (id),
	CONSTRAINT ck_versions_size CHECK (size >= 0),
	CONSTRAINT ck_versions_digest CHECK (length(digest) = 32)
);
CREATE TABLE chunks (
	id INTEGER NOT NULL,
	digest BLOB NOT NULL,
	size BIGINT NOT NULL,
	copies_wanted SMALLINT NOT NULL,
	copies_good SMALLINT NOT NULL,
	unreferenced_since BIGINT,
	state VARCHAR(16) NOT NULL,
	CONSTRAINT pk_chunks PRIMARY KEY (id),
	CONSTRAINT uq_chunks_digest UNIQUE (digest),
	CONSTRAINT ck_chunks_size CHECK (size BETWEEN 0 AND 67108864),
	CONSTRAINT ck_chunks_digest CHECK (length(digest) = 32),
	CONSTRAINT ck_chunks_counts CHECK (copies_wanted >= 0 AND copies_good >= 0),
	CONSTRAINT ck_chunks_state CHECK (state IN ('stored', 'deleting'))
);
CREATE TABLE extents (
	version_id INTEGER NOT NULL,
	ordinal INTEGER NOT NULL,
	chunk_id INTEGER NOT NULL,
	"offset" BIGINT NOT NULL,
	length BIGINT NOT NULL,
	CONSTRAINT pk_extents PRIMARY KEY (version_id, ordinal),
	CONSTRAINT fk_extents_version_id FOREIGN KEY(version_id) REFERENCES versions (id),
	CONSTRAINT fk_extents_chunk_id FOREIGN KEY(chunk_id) REFERENCES chunks (id),
	CONSTRAINT ck_extents_slice CHECK (ordinal >= 0 AND "offset" >= 0 AND length > 0)
)
 WITHOUT ROWID;
CREATE TABLE requests (
	id BLOB NOT NULL,
	outcome BLOB NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_requests PRIMARY KEY (id),
	CONSTRAINT ck_requests_id CHECK (length(id) = 16)
)
 WITHOUT ROWID;
CREATE TABLE credentials (
	id INTEGER NOT NULL,
	role VARCHAR(16) NOT NULL,
	digest BLOB NOT NULL,
	name TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	CONSTRAINT pk_credentials PRIMARY KEY (id),
	CONSTRAINT uq_credentials_digest UNIQUE (digest),
	CONSTRAINT ck_credentials_role CHECK (role IN ('client', 'admin', 'join')),
	CONSTRAINT ck_credentials_digest CHECK (length(digest) = 32)
);
CREATE TABLE settings (
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	CONSTRAINT pk_settings PRIMARY KEY (name)
)
 WITHOUT ROWID;
CREATE TABLE events (
	id INTEGER NOT NULL,
	at BIGINT NOT NULL,
	kind VARCHAR(64) NOT NULL,
	subject TEXT NOT NULL,
	detail TEXT NOT NULL,
	CONSTRAINT pk_events PRIMARY KEY (id)
);
CREATE TABLE "nodes" (
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	address TEXT NOT NULL,
	public_address TEXT NOT NULL,
	zone TEXT NOT NULL,
	capacity_bytes BIGINT NOT NULL,
	used_bytes BIGINT NOT NULL,
	state VARCHAR(16) NOT NULL,
	volume_state VARCHAR(16) NOT NULL,
	filesystem_id TEXT NOT NULL,
	registration BIGINT NOT NULL,
	last_seen_at BIGINT NOT NULL,
	registered_at BIGINT NOT NULL,
	intent VARCHAR(16) DEFAULT '' NOT NULL,
	intent_until BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_nodes PRIMARY KEY (id),
	CONSTRAINT ck_nodes_volume_state CHECK (volume_state IN ('ok', 'full', 'failed')),
	CONSTRAINT ck_nodes_bytes CHECK (capacity_bytes >= 0 AND used_bytes >= 0),
	CONSTRAINT uq_nodes_name UNIQUE (name),
	CONSTRAINT ck_nodes_state CHECK (state IN ('live', 'suspect', 'dead', 'draining', 'failed', 'maintenance')),
	CONSTRAINT ck_nodes_intent CHECK (intent IN ('', 'draining', 'maintenance'))
);
CREATE TABLE policy_changes (
	entry_id INTEGER NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_policy_changes PRIMARY KEY (entry_id)
)
 WITHOUT ROWID;
CREATE TABLE replicas (
	chunk_id INTEGER NOT NULL,
	node_id INTEGER NOT NULL,
	generation BIGINT NOT NULL,
	state VARCHAR(16) NOT NULL,
	stored_at BIGINT NOT NULL,
	verified_at BIGINT NOT NULL,
	CONSTRAINT pk_replicas PRIMARY KEY (chunk_id, node_id),
	CONSTRAINT fk_replicas_chunk_id FOREIGN KEY(chunk_id) REFERENCES chunks (id),
	CONSTRAINT fk_replicas_node_id FOREIGN KEY(node_id) REFERENCES nodes (id),
	CONSTRAINT ck_replicas_state CHECK (state IN ('good', 'bad', 'missing', 'deleting', 'deleted'))
)
 WITHOUT ROWID;
CREATE INDEX ix_versions_entry_id ON versions (entry_id);
CREATE INDEX ix_versions_removed_at ON versions (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX ix_chunks_under_replicated ON chunks (copies_good, copies_wanted) WHERE copies_good < copies_wanted;
CREATE INDEX ix_chunks_unreferenced_since ON chunks (unreferenced_since) WHERE unreferenced_since IS NOT NULL;
CREATE INDEX ix_extents_chunk_id ON extents (chunk_id);
CREATE INDEX ix_requests_at ON requests (at);
CREATE INDEX ix_replicas_node_id_state ON replicas (node_id, state);
CREATE INDEX ix_chunks_surplus ON chunks (id) WHERE copies_good > copies_wanted AND copies_wanted > 0;
CREATE VIEW file_replicas AS WITH RECURSIVE tree(id, version_id, path) AS
(SELECT entries.id AS id, entries.version_id AS version_id, '' AS path
FROM entries
WHERE entries.id = 1 UNION ALL SELECT entries_1.id AS id, entries_1.version_id AS version_id, tree.path || '/' || entries_1.name AS anon_1
FROM entries AS entries_1 JOIN tree ON entries_1.parent_id = tree.id)
 SELECT tree.path, versions.size, extents.ordinal, lower(hex(chunks.digest)) AS digest, extents."offset", extents.length, nodes.name AS node, nodes.address, replicas.state
FROM tree JOIN versions ON versions.id = tree.version_id JOIN extents ON extents.version_id = versions.id JOIN chunks ON chunks.id = extents.chunk_id JOIN replicas ON replicas.chunk_id = chunks.id JOIN nodes ON nodes.id = replicas.node_id;
CREATE VIEW files AS WITH RECURSIVE tree(id, version_id, path) AS
(SELECT entries.id AS id, entries.version_id AS version_id, '' AS path
FROM entries
WHERE entries.id = 1 UNION ALL SELECT entries_1.id AS id, entries_1.version_id AS version_id, tree.path || '/' || entries_1.name AS anon_1
FROM entries AS entries_1 JOIN tree ON entries_1.parent_id = tree.id)
 SELECT coalesce(nullif(tree.path, ''), '/') AS path, entries.kind, coalesce(versions.size, 0) AS size, nullif(lower(hex(versions.digest)), '') AS digest, strftime('%Y-%m-%dT%H:%M:%fZ', (coalesce(versions.mtime_ns, entries.mtime_ns) / 1000000) / 1000.0, 'unixepoch') AS mtime, printf('%04o', coalesce(versions.mode, entries.mode)) AS mode, versions.id AS version
FROM tree JOIN entries ON entries.id = tree.id LEFT OUTER JOIN versions ON versions.id = tree.version_id;
CREATE VIEW node_usage AS SELECT nodes.name AS node, nodes.address, nodes.state, nodes.volume_state, nodes.zone, nodes.capacity_bytes, nodes.used_bytes, count(chunks.id) FILTER (WHERE replicas.state = 'good') AS chunks, coalesce(sum(chunks.size) FILTER (WHERE replicas.state = 'good'), 0) AS bytes_of_chunks, count(chunks.id) FILTER (WHERE replicas.state IN ('bad', 'missing')) AS lost_or_bad, strftime('%Y-%m-%dT%H:%M:%fZ', (nodes.last_seen_at) / 1000.0, 'unixepoch') AS last_seen_at, strftime('%Y-%m-%dT%H:%M:%fZ', (nodes.registered_at) / 1000.0, 'unixepoch') AS registered_at
FROM nodes LEFT OUTER JOIN replicas ON replicas.node_id = nodes.id LEFT OUTER JOIN chunks ON chunks.id = replicas.chunk_id GROUP BY nodes.id;
CREATE VIEW under_replicated AS SELECT lower(hex(chunks.digest)) AS digest, chunks.size, chunks.copies_wanted, (SELECT count(*) AS count_1
FROM replicas JOIN nodes ON nodes.id = replicas.node_id
WHERE replicas.chunk_id = chunks.id AND replicas.state = 'good' AND nodes.state IN ('live', 'draining', 'maintenance')) AS copies_good
FROM chunks
WHERE (SELECT count(*) AS count_1
FROM replicas JOIN nodes ON nodes.id = replicas.node_id
WHERE replicas.chunk_id = chunks.id AND replicas.state = 'good' AND nodes.state IN ('live', 'draining', 'maintenance')) < chunks.copies_wanted;
CREATE VIEW events_readable AS SELECT strftime('%Y-%m-%dT%H:%M:%fZ', (events.at) / 1000.0, 'unixepoch') AS at, events.kind, events.subject, events.detail, events.id
FROM events;
