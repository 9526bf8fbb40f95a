-- Claims of names that another account has. They are no domains: `domains` holds one row a name, which is all that
-- edges are told.
CREATE TABLE contests (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    host TEXT NOT NULL,
    proof TEXT NOT NULL,
    facts TEXT NOT NULL,
    -- open, refused, lost, or gone: taken away by its owner and counted still.
    state TEXT NOT NULL,
    -- When the name moves, once the proof was seen.
    hold_until BIGINT,
    holds BIGINT NOT NULL,
    -- The certificate that is served from the move on (JSON), and its key.
    certificate TEXT,
    certificate_id TEXT,
    key_sealed TEXT,
    timeline TEXT NOT NULL,
    version BIGINT NOT NULL,
    next_check_at BIGINT NOT NULL,
    watched_until BIGINT,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
-- One at a time can take a name.
CREATE UNIQUE INDEX contests_on_hold ON contests (host) WHERE hold_until IS NOT NULL;
CREATE INDEX contests_by_host ON contests (host);
CREATE INDEX contests_by_app ON contests (app_id, id);
CREATE INDEX contests_by_tenant ON contests (tenant_id);
CREATE INDEX contests_by_seal ON contests (substr(key_sealed, 1, 12), id) WHERE key_sealed IS NOT NULL;
CREATE INDEX contests_due ON contests (next_check_at) WHERE state = 'open';

-- Until when somebody looks at the domain's page, so that its records are looked up every few seconds.
ALTER TABLE domains ADD COLUMN watched_until BIGINT;

CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    domain_id TEXT,
    host TEXT NOT NULL,
    until BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX notices_by_tenant ON notices (tenant_id, id);
