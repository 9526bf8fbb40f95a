-- The authorities (PEM) whose client certificates a domain asks its visitors for; NULL: it asks nobody.
ALTER TABLE domains ADD COLUMN client_ca TEXT;
