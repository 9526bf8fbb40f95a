//! What an order must remember, and the two things it must wait for. The seam between the protocol and the
//! store, and where tests put crashes.

use std::time::Duration;

use async_trait::async_trait;
use model::acme::{Challenge, ChallengeKind};
use model::{HostPattern, Timestamp};
use zeroize::Zeroizing;

use super::AcmeError;

/// The memory of one order. Each method has written when it returns; a failure leaves what was there.
#[async_trait]
pub(crate) trait Journal: Send {
    /// The name that is to be certified.
    fn host(&self) -> &HostPattern;

    /// The names of the certificate: that name, and what stands beside it.
    fn names(&self) -> Vec<HostPattern> {
        vec![self.host().clone()]
    }

    /// Notes that the authority does not take proofs of this kind.
    fn lacks(&mut self, kind: ChallengeKind) {
        let _ = kind;
    }

    /// How the names are proved, to an authority with this usual way.
    async fn challenge(&mut self, usual: ChallengeKind) -> ChallengeKind {
        usual
    }

    /// The present.
    fn now(&self) -> Timestamp;

    /// Address of the order at the authority, if one was made.
    fn url(&self) -> Option<String>;

    /// The private key, PKCS #8 DER, if one was made for this order.
    ///
    /// # Errors
    /// [`AcmeError::Seal`] if it does not open.
    fn key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, AcmeError>;

    /// Tells that the order is worked on still.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Fenced`].
    async fn alive(&mut self) -> Result<(), AcmeError>;

    /// Refuses unless the records point here at this moment, with the proof or with one that stays good.
    ///
    /// # Errors
    /// [`AcmeError::NotHere`] says what was seen.
    async fn confirm_here(&mut self) -> Result<(), AcmeError>;

    /// Waits for nothing: refuses unless the authority's limits leave room for the order now, and takes the room.
    ///
    /// # Errors
    /// [`AcmeError::Spent`] says when there is room; it is kept for this order until then.
    async fn take_turn(&mut self) -> Result<(), AcmeError>;

    /// The chain of the certificate of the same authority that the new one takes the place of, if there is one.
    fn predecessor(&self) -> Option<&str>;

    /// The authority does not take `replaces` for the order. Refuses unless its limits leave room for an order like any
    /// other, and takes the room: what is ordered within a window of the authority's own is free only with it.
    ///
    /// # Errors
    /// [`AcmeError::Spent`] says when there is room.
    async fn take_turn_without_predecessor(&mut self) -> Result<(), AcmeError>;

    /// How long one attempt waits for the authority to look at the challenges, and to sign.
    fn patience(&self) -> Duration;

    /// Whether the authority has had the order for longer than anybody waits for it.
    fn is_overdue(&self) -> bool;

    /// Remembers that a new order is being sent: until there is an address or a refusal it may count at the authority.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Fenced`].
    async fn sending(&mut self) -> Result<(), AcmeError>;

    /// Remembers that the authority has not taken it.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Fenced`].
    async fn not_taken(&mut self) -> Result<(), AcmeError>;

    /// Remembers the address of a new order.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Fenced`].
    async fn opened(&mut self, url: &str) -> Result<(), AcmeError>;

    /// Remembers the private key, sealed.
    ///
    /// # Errors
    /// [`AcmeError::Store`], [`AcmeError::Seal`] or [`AcmeError::Fenced`].
    async fn keep_key(&mut self, der: &[u8]) -> Result<(), AcmeError>;

    /// Forgets address and key: the next attempt begins a new order.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Fenced`].
    async fn forget(&mut self) -> Result<(), AcmeError>;

    /// Gives the edges the answer to a challenge, or writes it into the DNS.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Proof`].
    async fn put_challenge(&mut self, challenge: &Challenge) -> Result<(), AcmeError>;

    /// Remembers an answer that an earlier attempt, which did not come to its end, has written into the DNS: it is
    /// to be taken away with the others.
    fn recall(&mut self, challenge: &Challenge) {
        let _ = challenge;
    }

    /// Waits, with a bound, until the edges hold every answer given so far, and the name servers show theirs. The
    /// bound of the edges is no failure: the order goes on.
    ///
    /// # Errors
    /// [`AcmeError::Store`], or [`AcmeError::Proof`] if a name server does not show an answer.
    async fn wait_for_edges(&mut self) -> Result<(), AcmeError>;
}
