-- One set of SQL for SQLite and Postgres: TEXT and BIGINT only. Moments are milliseconds since 1970,
-- structures are JSON, secrets arrive sealed, flags are 0 or 1.

-- One row. On Postgres its lock is what puts all changes in one order.
CREATE TABLE log (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    lineage TEXT NOT NULL,
    revision BIGINT NOT NULL,
    horizon BIGINT NOT NULL,
    audit_count BIGINT NOT NULL,
    audit_hash TEXT NOT NULL,
    zones TEXT NOT NULL
);

-- Where each object stands in the log. The object itself is read from its own table.
CREATE TABLE feed (
    kind TEXT NOT NULL,
    object_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (kind, object_id)
);
CREATE UNIQUE INDEX feed_by_revision ON feed (revision);
CREATE INDEX feed_gone ON feed (changed_at) WHERE gone = 1;

CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    happened_at BIGINT NOT NULL,
    actor_key TEXT,
    actor_name TEXT NOT NULL,
    request_id TEXT,
    ip TEXT,
    tenant_id TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    details TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant_id, sequence);
CREATE INDEX audit_by_target ON audit (target, sequence);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    standing TEXT NOT NULL,
    suspended_reason TEXT,
    limits TEXT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE apps (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL UNIQUE,
    backends TEXT NOT NULL,
    headers TEXT NOT NULL,
    settings TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX apps_by_tenant ON apps (tenant_id, id);

CREATE TABLE domains (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    host TEXT NOT NULL UNIQUE,
    proof TEXT NOT NULL,
    facts TEXT NOT NULL,
    proved BIGINT NOT NULL,
    was_live BIGINT NOT NULL,
    status TEXT NOT NULL,
    timeline TEXT NOT NULL,
    version BIGINT NOT NULL,
    next_check_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX domains_by_app ON domains (app_id, id);
CREATE INDEX domains_by_tenant ON domains (tenant_id);
CREATE INDEX domains_due ON domains (next_check_at);

-- Names that were given up, and by whom.
CREATE TABLE released_hosts (
    host TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    released_at BIGINT NOT NULL
);
CREATE INDEX released_hosts_by_age ON released_hosts (released_at);

CREATE TABLE certificates (
    id TEXT PRIMARY KEY,
    tenant_id TEXT REFERENCES tenants (id),
    app_id TEXT REFERENCES apps (id),
    source TEXT NOT NULL,
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    names TEXT NOT NULL,
    chain_pem TEXT NOT NULL,
    key_sealed TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    renew_at BIGINT NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX certificates_by_tenant ON certificates (tenant_id, id);
CREATE INDEX certificates_by_app ON certificates (app_id, id);
CREATE INDEX certificates_by_names ON certificates (names) WHERE status = 'active';
CREATE INDEX certificates_due ON certificates (renew_at) WHERE status = 'active';
CREATE INDEX certificates_ending ON certificates (not_after) WHERE status = 'active';

CREATE TABLE certificate_names (
    certificate_id TEXT NOT NULL REFERENCES certificates (id),
    name TEXT NOT NULL,
    PRIMARY KEY (certificate_id, name)
);
CREATE INDEX certificate_names_by_name ON certificate_names (name);

CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    names TEXT NOT NULL,
    tenant_id TEXT,
    app_id TEXT,
    domain_id TEXT,
    certificate_id TEXT NOT NULL,
    state TEXT NOT NULL,
    key_sealed TEXT,
    order_url TEXT,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX orders_open ON orders (host) WHERE state = 'open';
CREATE INDEX orders_due ON orders (next_at) WHERE state = 'open';
CREATE INDEX orders_by_host ON orders (host, id);

CREATE TABLE challenges (
    token TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    key_authorization TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX challenges_by_age ON challenges (expires_at);

CREATE TABLE acme_accounts (
    directory TEXT PRIMARY KEY,
    account_url TEXT,
    key_sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE local_ca (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    cert_pem TEXT NOT NULL,
    key_sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    lookup TEXT NOT NULL UNIQUE,
    tenant_id TEXT REFERENCES tenants (id),
    scope TEXT NOT NULL,
    name TEXT,
    secret_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX keys_by_tenant ON keys (tenant_id, id);

CREATE TABLE idempotency (
    key_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT,
    headers TEXT,
    body TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- The highest sequence taken from each edge: what is not above it was counted before.
CREATE TABLE usage_watermarks (
    edge_id TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    taken_at BIGINT NOT NULL
);

CREATE TABLE usage_sums (
    tenant_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    window_start BIGINT NOT NULL,
    class TEXT NOT NULL,
    requests BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, window_start, app_id, class)
);

-- Which key speaks for an edge. What is reported without a key, by the edge in the same process, is not here.
CREATE TABLE edge_keys (
    edge_id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE
);
CREATE INDEX edge_keys_by_key ON edge_keys (key_id);

CREATE TABLE edges (
    id TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    sites BIGINT NOT NULL,
    certificates BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
