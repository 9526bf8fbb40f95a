//! stoa.toml to validated settings, one struct a role.
