//! How we stand with each authority: whether it works, what it still allows, who waits for it.

use std::collections::BTreeMap;

use model::Timestamp;

use crate::Store;
use crate::budget::BudgetLine;
use crate::circuit::Circuit;
use crate::error::Result;
use crate::row::Columns as _;

/// How we stand with one authority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its failures; none: it answered the last time it was asked.
    pub circuit: Option<Circuit>,
    /// What was drawn from its limits.
    pub lines: Vec<BudgetLine>,
    /// Open orders that have a turn with it still to come.
    pub waiting: u64,
    /// The turn of the last of these.
    pub last_turn_at: Option<Timestamp>,
}

impl Store {
    /// How we stand with each authority that we have an account with or an order at, by its directory.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn standings(&self) -> Result<BTreeMap<String, Standing>> {
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        let rows = sqlx::query("SELECT directory FROM acme_accounts").fetch_all(self.pool()).await?;
        for row in &rows {
            standings.entry(row.text("directory")?).or_default();
        }
        for circuit in self.circuits().await? {
            let authority = circuit.authority.clone();
            standings.entry(authority).or_default().circuit = Some(circuit);
        }
        let rows = sqlx::query(
            "SELECT authority, COUNT(*) AS waiting, MAX(slot_at) AS last FROM orders
             WHERE state = 'open' AND slot_at > $1 AND authority IS NOT NULL GROUP BY authority",
        )
        .bind(self.now().unix_millis())
        .fetch_all(self.pool())
        .await?;
        for row in &rows {
            let standing = standings.entry(row.text("authority")?).or_default();
            standing.waiting = row.natural("waiting")?;
            standing.last_turn_at = row.moment_or_none("last")?;
        }
        for (authority, standing) in &mut standings {
            standing.lines = self.ca_budget(authority).await?;
        }
        Ok(standings)
    }
}
