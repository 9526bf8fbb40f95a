-- Whether an order's turn depends on the account's limit only, so that another order may have it instead.
ALTER TABLE orders ADD COLUMN turn_shared BIGINT NOT NULL DEFAULT 0;
CREATE INDEX orders_by_turn ON orders (authority, slot_at) WHERE state = 'open' AND turn_shared = 1;
