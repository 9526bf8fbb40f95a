//! Our account with an authority: made once, its key sealed in the store before the authority sees it.

use std::sync::Arc;

use instant_acme::{Account, Error, HttpClient, Key};
use model::Timestamp;
use model::acme::ChallengeKind;
use model::seal::SealingKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use store::{AccountRecord, Store};
use tokio::sync::Mutex;

use super::AcmeError;
use super::error::{classify, is_bad_nonce};
use super::transport::{Recorder, Transport};
use crate::{Acme, CertdError};

/// How often a step is sent again when the authority refuses the nonce only. The library tries three times
/// by itself; with an authority that refuses one nonce in three, that is not enough.
const NONCE_TRIES: u32 = 5;

/// One authority and our account with it.
pub struct Authority {
    settings: Acme,
    store: Store,
    sealing: SealingKey,
    http: Arc<dyn HttpClient>,
    /// Only one task makes the account; the others wait for it.
    making: Mutex<()>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.settings.directory).finish_non_exhaustive()
    }
}

/// One line of requests in our account.
pub(crate) struct Session {
    pub(crate) account: Account,
    /// How names are proved.
    pub(crate) challenge: ChallengeKind,
    line: Line,
}

/// One line of requests, and what becomes of those that fail.
pub(super) struct Line {
    pub(super) recorder: Recorder,
    pub(super) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Authority {
    /// Prepares; nothing is sent yet.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names the value that cannot be used.
    pub fn new(settings: Acme, store: Store, sealing: SealingKey) -> Result<Self, CertdError> {
        settings.check()?;
        let http = Arc::new(Transport::new(settings.ca_file.as_deref())?);
        Ok(Self::over(http, settings, store, sealing))
    }

    pub(crate) fn over(http: Arc<dyn HttpClient>, settings: Acme, store: Store, sealing: SealingKey) -> Self {
        Self { settings, store, sealing, http, making: Mutex::new(()) }
    }

    /// A session in our account, which is made if there is none.
    pub(crate) async fn session(&self) -> Result<Session, AcmeError> {
        let store = self.store.clone();
        let line =
            Line { recorder: Recorder::new(Arc::clone(&self.http)), clock: Arc::new(move || store.now()) };
        let record = match self.store.acme_account(&self.settings.directory).await? {
            Some(record) if record.account_url.is_some() => record,
            _ => self.register(&line).await?,
        };
        let key = self.sealing.open(&self.key_context(), &record.key)?;
        let url = record.account_url.unwrap_or_default();
        let account = step!(line, self.restore(&line, &url, &key))?;
        Ok(Session { account, challenge: self.settings.challenge, line })
    }

    /// Forgets that the authority knew us, so that the next session registers the same key again.
    pub(crate) async fn forget(&self) -> Result<(), AcmeError> {
        let directory = &self.settings.directory;
        if let Some(record) = self.store.acme_account(directory).await? {
            self.store.put_acme_account(&AccountRecord { account_url: None, ..record }).await?;
        }
        Ok(())
    }

    /// Makes the account. The key is stored first: after a crash the same key is registered again, which
    /// gives the same account (RFC 8555 §7.3.1).
    async fn register(&self, line: &Line) -> Result<AccountRecord, AcmeError> {
        let _alone = self.making.lock().await;
        let record = match self.store.acme_account(&self.settings.directory).await? {
            Some(record) if record.account_url.is_some() => return Ok(record),
            Some(record) => record,
            None => self.new_key().await?,
        };
        let key = self.sealing.open(&self.key_context(), &record.key)?;
        let account = step!(line, self.create(line, &key))?;
        let record = AccountRecord { account_url: Some(account.id().to_owned()), ..record };
        self.store.put_acme_account(&record).await?;
        tracing::info!(directory = %self.settings.directory, account = %account.id(), "registered with the certificate authority");
        Ok(record)
    }

    async fn restore(&self, line: &Line, url: &str, key: &[u8]) -> Result<Account, Error> {
        let builder = Account::builder_with_http(line.http());
        let key = PrivatePkcs8KeyDer::from(key);
        builder.from_parts(url.to_owned(), key, self.settings.directory.clone()).await
    }

    async fn create(&self, line: &Line, key: &[u8]) -> Result<Account, Error> {
        let builder = Account::builder_with_http(line.http());
        let der = PrivatePkcs8KeyDer::from(key.to_vec());
        let pair = (Key::from_pkcs8_der(der.clone_key())?, PrivateKeyDer::Pkcs8(der));
        let (account, _) = builder.create_from_key(pair, self.settings.directory.clone()).await?;
        if let Some(contact) = &self.settings.contact {
            account.update_contacts(&[contact]).await?;
        }
        Ok(account)
    }

    async fn new_key(&self) -> Result<AccountRecord, AcmeError> {
        let (_, der) = Key::generate_pkcs8().map_err(|error| AcmeError::Crypto(error.to_string()))?;
        let key = self.sealing.seal(&self.key_context(), der.secret_pkcs8_der())?;
        let record = AccountRecord { directory: self.settings.directory.clone(), account_url: None, key };
        self.store.put_acme_account(&record).await?;
        Ok(record)
    }

    fn key_context(&self) -> String {
        format!("acme-account-key/{}", self.settings.directory)
    }
}

impl Session {
    /// As [`Line::failed`].
    pub(crate) fn failed(&self, error: Error, tries: u32) -> Option<AcmeError> {
        self.line.failed(error, tries)
    }

    /// Whether the last answer said that what was asked for does not exist (any more).
    pub(crate) fn heard_gone(&self) -> bool {
        self.line.recorder.last().status.is_some_and(|status| matches!(status.as_u16(), 404 | 410))
    }
}

impl Line {
    /// What becomes of a step that failed for the `tries`th time; none: it is sent again, because only its
    /// nonce was refused.
    pub(super) fn failed(&self, error: Error, tries: u32) -> Option<AcmeError> {
        let again = is_bad_nonce(&error) && tries < NONCE_TRIES;
        (!again).then(|| classify(error, &self.recorder.last(), (self.clock)()))
    }

    fn http(&self) -> Box<dyn HttpClient> {
        Box::new(self.recorder.clone())
    }
}
