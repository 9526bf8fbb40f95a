//! From the usage ledger to what is billable.
