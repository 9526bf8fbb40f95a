//! Uploaded certificates that end soon: their owners are warned 21, 7 and 1 days before, once each, in the audit log and
//! on the timelines of the domains that they are for.

use std::time::Duration;

use model::{HostPattern, Timestamp};
use serde_json::json;

use super::{CertificateRecord, read};
use crate::Store;
use crate::caller::Actor;
use crate::domain::{TimelineEntry, add_to_timeline};
use crate::error::Result;
use crate::row::{Columns as _, to_json};
use crate::write::{Event, Write};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days before the end, the most urgent first, each with the action of its audit event: that the event is there says
/// that the warning was given.
const WARNINGS: [(u16, &str); 3] = [
    (1, "certificate.ends_in_1_day"),
    (7, "certificate.ends_in_7_days"),
    (21, "certificate.ends_in_21_days"),
];
/// Most warnings of one kind in one call.
const MOST: i64 = 100;

impl Store {
    /// Gives the warnings that are due, at most 100 of each kind; tells them, each with its days. One that comes late,
    /// because the certificate was uploaded late or nobody looked, is the most urgent one only.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn warn_of_ending_uploads(&self) -> Result<Vec<(CertificateRecord, u16)>> {
        let (now, mut given, mut from) = (self.now(), Vec::new(), self.now());
        for (days, action) in WARNINGS {
            let until = now.plus(DAY * u32::from(days));
            for certificate in self.unwarned(action, from, until).await? {
                if self.warn(&certificate, days, action).await? {
                    given.push((certificate, days));
                }
            }
            from = until;
        }
        Ok(given)
    }

    async fn unwarned(
        &self,
        action: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<CertificateRecord>> {
        let rows = sqlx::query(
            "SELECT * FROM certificates WHERE status = 'active' AND source = 'upload'
             AND not_after > $1 AND not_after <= $2
             AND NOT EXISTS (SELECT 1 FROM audit WHERE audit.target = certificates.id AND audit.action = $3)
             ORDER BY not_after LIMIT $4",
        )
        .bind(from.unix_millis())
        .bind(until.unix_millis())
        .bind(action)
        .bind(MOST)
        .fetch_all(self.pool())
        .await?;
        let now = self.now();
        rows.iter().map(|row| read(row, now)).collect()
    }

    /// False if somebody else was quicker.
    async fn warn(&self, certificate: &CertificateRecord, days: u16, action: &'static str) -> Result<bool> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let given = sqlx::query("SELECT id FROM audit WHERE target = $1 AND action = $2 LIMIT 1")
            .bind(certificate.id.to_string())
            .bind(action)
            .fetch_optional(write.connection())
            .await?;
        if given.is_some() {
            return Ok(false);
        }
        for name in &certificate.names {
            note(&mut write, name, certificate, days).await?;
        }
        let details = json!({ "names": certificate.names, "not_after": certificate.not_after });
        let (tenant, target) = (certificate.tenant, certificate.id.to_string());
        write.audit(Event { tenant, action, target, details }).await?;
        write.commit().await?;
        Ok(true)
    }
}

/// Puts the warning on the timeline of the domain, if the name is one of the certificate's app.
async fn note(
    write: &mut Write,
    host: &HostPattern,
    certificate: &CertificateRecord,
    days: u16,
) -> Result<()> {
    let now = write.now();
    let row = sqlx::query("SELECT id, timeline, status FROM domains WHERE host = $1 AND app_id = $2")
        .bind(host.to_string())
        .bind(certificate.app.map(|app| app.to_string()).unwrap_or_default())
        .fetch_optional(write.connection())
        .await?;
    let Some(row) = row else { return Ok(()) };
    let mut timeline: Vec<TimelineEntry> = row.json("timeline")?;
    let entry = TimelineEntry { at: now, status: row.word("status")?, ends_in_days: Some(days) };
    add_to_timeline(&mut timeline, entry);
    sqlx::query("UPDATE domains SET timeline = $2, version = version + 1 WHERE id = $1")
        .bind(row.text("id")?)
        .bind(to_json(&timeline)?)
        .execute(write.connection())
        .await?;
    Ok(())
}
