-- What the authority asks for: http-01 or tls-alpn-01.
ALTER TABLE challenges ADD COLUMN kind TEXT NOT NULL DEFAULT 'http-01';
