-- Keys of TLS session tickets, which all edges share. `number` counts up: the greatest is the newest, whatever
-- the clock says.
CREATE TABLE ticket_keys (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    key_sealed TEXT NOT NULL,
    made_at BIGINT NOT NULL
);
