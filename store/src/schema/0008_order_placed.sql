-- When an order got its address at the authority: one that is not finished for long is given up.
ALTER TABLE orders ADD COLUMN placed_at BIGINT;
