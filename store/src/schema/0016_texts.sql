-- Texts of ours in the DNS that prove names (dns-01): written down before they are set, until they are taken away. What
-- nobody takes away in time is taken away later.
CREATE TABLE texts (
    place TEXT NOT NULL,
    text TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    PRIMARY KEY (place, text)
);
CREATE INDEX texts_due ON texts (next_at);
