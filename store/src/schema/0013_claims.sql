-- When the proof of a claim was last seen everywhere, and since when one server at least has been without it.
ALTER TABLE contests ADD COLUMN proof_seen_at BIGINT;
ALTER TABLE contests ADD COLUMN missing_since BIGINT;
-- Why a claim was refused: proved, decided or lapsed; none: proved, before this was written down.
ALTER TABLE contests ADD COLUMN cause TEXT;
