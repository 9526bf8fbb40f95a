-- Records that are set at providers for creators: what was asked for, how far it is, how it is taken back, and the
-- sealed credential as long as it is kept. `plan` and `applied` are the adapters' own.
CREATE TABLE connections (
    domain_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    door TEXT NOT NULL,
    step TEXT NOT NULL,
    status TEXT NOT NULL,
    findings TEXT NOT NULL,
    plan TEXT,
    applied TEXT,
    credential_sealed TEXT,
    kept BIGINT NOT NULL,
    forget_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX connections_due ON connections (next_at) WHERE status = 'working';
CREATE INDEX connections_to_forget ON connections (forget_at) WHERE credential_sealed IS NOT NULL;
CREATE INDEX connections_by_seal ON connections (substr(credential_sealed, 1, 12), domain_id)
    WHERE credential_sealed IS NOT NULL;
