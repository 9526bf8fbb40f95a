//! From the usage ledger to what is billable.
//!
//! The ledger itself is `store`'s. Here stands what a sum of it means: which classes go on a bill, and where
//! a billing period begins and ends. Deliberately absent: prices, plans and invoices.

pub mod period;
pub mod usage;
