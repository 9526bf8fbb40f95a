//! Which part of an installation a process is, and what that part needs of the settings.

use crate::Settings;
use crate::error::{ConfigErrors, Faults};

/// Which part of an installation a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything in one process.
    Up,
    /// Serves visitors; knows no database.
    Edge,
    /// Store, certificates and API.
    Control,
}

impl Settings {
    /// Checks what only matters to `role`.
    ///
    /// # Errors
    /// [`ConfigErrors`] without positions: something is missing, or does not fit the role.
    pub fn for_role(&self, role: Role) -> Result<(), ConfigErrors> {
        let mut faults = Faults::new("");
        match role {
            Role::Edge if self.control.is_none() => faults.missing(
                "an edge that runs apart needs [control] with `url` and `key`; everything in one process is `stoa up`",
            ),
            Role::Up | Role::Control if self.control.is_some() => faults.missing(
                "[control] is for `stoa run --role edge`: this process is the control plane itself, remove it",
            ),
            _ => {}
        }
        faults.finish(self.file.clone(), ())
    }
}
