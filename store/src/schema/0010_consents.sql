-- Links with which creators let their providers set records: each is good once, for one domain, as long as the key
-- that asked for it is.
CREATE TABLE consents (
    state_hash TEXT PRIMARY KEY,
    domain_id TEXT NOT NULL,
    key_id TEXT,
    expires_at BIGINT NOT NULL
);
CREATE INDEX consents_by_domain ON consents (domain_id);
CREATE INDEX consents_by_end ON consents (expires_at);
