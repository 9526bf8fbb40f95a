-- Several authorities: which one an order is placed with, when it may be sent, how much it hurries.
ALTER TABLE orders ADD COLUMN authority TEXT;
ALTER TABLE orders ADD COLUMN slot_at BIGINT;
ALTER TABLE orders ADD COLUMN rank BIGINT NOT NULL DEFAULT 0;
CREATE INDEX orders_by_rank ON orders (rank) WHERE state = 'open';
CREATE INDEX orders_by_certificate ON orders (certificate_id);

-- The key that is to take the place of an account's: kept before the authority hears of it.
ALTER TABLE acme_accounts ADD COLUMN next_key_sealed TEXT;
ALTER TABLE acme_accounts ADD COLUMN change_wanted BIGINT NOT NULL DEFAULT 0;

-- When the authority would like a certificate to be renewed (RFC 9773), and when it is asked next.
ALTER TABLE certificates ADD COLUMN window_start BIGINT;
ALTER TABLE certificates ADD COLUMN window_end BIGINT;
ALTER TABLE certificates ADD COLUMN ask_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX certificates_to_ask ON certificates (ask_at) WHERE status = 'active' AND source = 'acme';

-- What was drawn from each limit of an authority: the time at which it would be untouched again, and the limit as it
-- was when it was drawn from (`burst` in `period` milliseconds).
CREATE TABLE ca_budget (
    authority TEXT NOT NULL,
    bucket TEXT NOT NULL,
    subject TEXT NOT NULL,
    full_at BIGINT NOT NULL,
    burst BIGINT NOT NULL,
    period BIGINT NOT NULL,
    PRIMARY KEY (authority, bucket, subject)
);
CREATE INDEX ca_budget_full ON ca_budget (full_at);

-- Authorities that failed in a row, and until when they are left alone.
CREATE TABLE ca_circuits (
    authority TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    since BIGINT NOT NULL,
    open_until BIGINT NOT NULL,
    reason TEXT NOT NULL
);
