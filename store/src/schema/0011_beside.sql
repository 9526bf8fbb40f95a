-- The other name of an order for a domain and its `www`: neither has another order meanwhile.
ALTER TABLE orders ADD COLUMN beside TEXT;
CREATE INDEX orders_by_beside ON orders (beside, id) WHERE beside IS NOT NULL;
