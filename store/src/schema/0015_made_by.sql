-- Which authority made a certificate, by its directory: orders are forgotten, and none of a certificate that was rolled
-- back to, or of a store that was rebuilt, leads to it.
ALTER TABLE certificates ADD COLUMN authority TEXT;
UPDATE certificates SET authority =
    (SELECT MAX(orders.authority) FROM orders WHERE orders.certificate_id = certificates.id)
    WHERE source = 'acme';
-- What was rolled back to is the same certificate under another id.
UPDATE certificates SET authority =
    (SELECT MAX(known.authority) FROM certificate_names AS own
     JOIN certificate_names AS other ON other.name = own.name
     JOIN certificates AS known ON known.id = other.certificate_id
     WHERE own.certificate_id = certificates.id AND known.chain_pem = certificates.chain_pem)
    WHERE source = 'acme' AND authority IS NULL;
