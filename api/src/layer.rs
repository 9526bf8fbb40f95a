//! What happens around every handler, from the outside in: reference and log, time limit, size limit, key,
//! idempotency.

pub(crate) mod authenticate;
pub(crate) mod bounds;
pub(crate) mod idempotency;
pub(crate) mod trace;
