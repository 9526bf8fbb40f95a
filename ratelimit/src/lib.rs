//! May this key take n now? GCRA in process.
