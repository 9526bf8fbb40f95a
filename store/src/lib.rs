//! The source of truth: SQLite and Postgres behind one API.
