-- Which of the keys that an installation holds seals; the keys themselves are in no database.
CREATE TABLE sealing (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    fingerprint TEXT NOT NULL,
    since BIGINT NOT NULL
);

-- Processes that seal: the keys that each can open with, and the one that it seals with.
CREATE TABLE sealing_holders (
    process TEXT PRIMARY KEY,
    opens TEXT NOT NULL,
    seals TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);

-- By the key that sealed them: `v1.<fingerprint>.` has 12 characters.
CREATE INDEX certificates_by_seal ON certificates (substr(key_sealed, 1, 12), id);
CREATE INDEX orders_by_seal ON orders (substr(key_sealed, 1, 12), id) WHERE key_sealed IS NOT NULL;
