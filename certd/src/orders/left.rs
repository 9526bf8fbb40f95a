//! Texts that were written into a zone of ours and that nobody has taken away: their order was forgotten, or went
//! elsewhere, or its process was ended between the two.

use std::time::Duration;

use store::ZoneText;

use crate::acme::AcmeError;
use crate::adapters::{Proof, ProofError, Proofs, RecordName};
use crate::work::Work;

/// Most texts that are taken away in one go.
const AT_ONCE: u32 = 20;
/// How long one is left alone after it could not be taken away.
const AGAIN: Duration = Duration::from_secs(3600);

impl Work {
    /// Takes a text away, and forgets it when it is gone.
    pub(super) async fn withdraw(&self, proofs: &Proofs, proof: &Proof) -> Result<(), AcmeError> {
        proofs.withdraw(proof).await.map_err(ProofError::from)?;
        Ok(self.store.drop_text(proof.place.as_str(), &proof.text).await?)
    }

    /// Takes away what has been left in our zones.
    pub(crate) async fn clear_texts(&self) -> Result<(), AcmeError> {
        let Some(proofs) = &self.proofs else { return Ok(()) };
        for left in self.store.take_left_texts(AT_ONCE, AGAIN).await? {
            match self.clear(proofs, &left).await {
                Ok(()) => {
                    tracing::info!(place = left.place, "a text that was left in the zone was taken away")
                }
                Err(error) if left.is_given_up(self.store.now()) => {
                    tracing::warn!(place = left.place, text = left.text, %error,
                        "a text stays in the zone: take it away by hand");
                    self.store.drop_text(&left.place, &left.text).await?;
                }
                Err(error) => {
                    tracing::warn!(place = left.place, %error, "a text that was left in the zone stays for now");
                }
            }
        }
        Ok(())
    }

    async fn clear(&self, proofs: &Proofs, left: &ZoneText) -> Result<(), AcmeError> {
        let place = RecordName::parse(&left.place).map_err(|error| AcmeError::Refused(error.to_string()))?;
        self.withdraw(proofs, &Proof { place, text: left.text.clone() }).await
    }
}
