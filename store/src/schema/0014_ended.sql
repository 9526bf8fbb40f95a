-- Certificates that are not served: forgotten some time after their end.
CREATE INDEX certificates_ended ON certificates (not_after) WHERE status <> 'active';
