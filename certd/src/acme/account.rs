//! Our account with an authority: made once, its key sealed in the store before the authority sees it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::Method;
use instant_acme::{Account, Error, HttpClient, Key};
use model::Timestamp;
use model::acme::ChallengeKind;
use model::seal::{KeyRing, Sealed};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use store::{AccountRecord, Store, StoreError};
use tokio::sync::Mutex;

use super::directory::{self, Answered, Directory};
use super::error::{classify, is_bad_nonce};
use super::jws::{self, Signer};
use super::lane::Lane;
use super::transport::{Recorder, Transport};
use super::{AcmeError, Limits};
use crate::{Acme, CertdError};

/// How long what an authority offers is believed without asking again.
const DIRECTORY_LIFETIME: Duration = Duration::from_secs(3600);

/// How long it is believed beyond that while somebody asks.
const ASKING: Duration = Duration::from_secs(60);
/// How often a step is sent again when the authority refuses the nonce only. The library tries three times
/// by itself; with an authority that refuses one nonce in three, that is not enough.
const NONCE_TRIES: u32 = 5;

/// One authority and our account with it.
pub struct Authority {
    settings: Acme,
    pub(super) store: Store,
    pub(super) sealing: KeyRing,
    http: Arc<dyn HttpClient>,
    /// Only one task makes the account; the others wait for it.
    pub(super) making: Mutex<()>,
    /// What it offers, and until when that is believed.
    offers: std::sync::Mutex<Option<(Timestamp, Arc<Directory>)>>,
    /// The names in CAA records that mean it; none: it has not told yet.
    caa_identities: std::sync::Mutex<Option<Vec<String>>>,
    /// How much it is asked at a time.
    lane: Arc<Lane>,
    lacks_standing: AtomicBool,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.settings.directory).finish_non_exhaustive()
    }
}

/// One line of requests in our account.
pub(crate) struct Session {
    pub(crate) account: Account,
    /// The key that it was begun with, sealed.
    pub(super) key: Sealed,
    /// How names are proved.
    pub(crate) challenge: ChallengeKind,
    /// The kind of certificate that is asked for, if the authority offers one of those that are wanted.
    pub(crate) profile: Option<String>,
    /// Whether it takes a word about which certificate is replaced.
    pub(crate) advises: bool,
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
    pub fn new(settings: Acme, store: Store, sealing: impl Into<KeyRing>) -> Result<Self, CertdError> {
        settings.check()?;
        let http = Arc::new(Transport::new(settings.ca_file.as_deref())?);
        Ok(Self::over(http, settings, store, sealing.into()))
    }

    pub(crate) fn over(http: Arc<dyn HttpClient>, settings: Acme, store: Store, sealing: KeyRing) -> Self {
        Self {
            settings,
            store,
            sealing,
            http,
            making: Mutex::new(()),
            offers: std::sync::Mutex::new(None),
            caa_identities: std::sync::Mutex::default(),
            lane: Arc::default(),
            lacks_standing: AtomicBool::new(false),
        }
    }

    /// Whether it was seen not to take texts that stand (dns-persist-01). Asked anew after a restart.
    pub(crate) fn lacks_standing(&self) -> bool {
        self.lacks_standing.load(Relaxed)
    }

    /// Notes that it takes no texts that stand.
    pub(crate) fn note_no_standing(&self) {
        self.lacks_standing.store(true, Relaxed);
    }

    /// Address of its directory, which is its name everywhere.
    pub(crate) fn name(&self) -> &str {
        &self.settings.directory
    }

    /// The limits that it is known to have.
    pub(crate) fn limits(&self) -> Limits {
        self.settings.limits
    }

    /// What it offers.
    ///
    /// # Errors
    /// [`AcmeError`] says why it did not tell.
    pub(crate) async fn directory(&self) -> Result<Arc<Directory>, AcmeError> {
        let now = self.store.now();
        if let Some((until, directory)) = self.offers.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            if now < *until {
                return Ok(Arc::clone(directory));
            }
            // The others go by what is known while this one asks.
            *until = now.plus(ASKING);
        }
        // Nobody waits for anybody else's question: an authority that hangs would hold them up one after the other.
        let line = self.line();
        let found = step!(line, Directory::ask(&line.recorder, &self.settings.directory))?;
        let found = Arc::new(found);
        *self.caa_identities.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(found.meta.caa_identities.clone());
        *self.offers.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((now.plus(DIRECTORY_LIFETIME), Arc::clone(&found)));
        Ok(found)
    }

    /// How much it is asked at a time.
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// How names are proved to it that are not proved by texts in a zone of ours.
    pub(crate) fn challenge(&self) -> ChallengeKind {
        self.settings.challenge
    }

    /// The address of our account with it, if we have one.
    pub(crate) async fn account_url(&self) -> Result<Option<String>, StoreError> {
        Ok(self.store.acme_account(self.name()).await?.and_then(|account| account.account_url))
    }

    /// The names in CAA records that mean it (RFC 8659); none: it was not asked yet.
    pub(crate) fn caa_identities(&self) -> Option<Vec<String>> {
        self.caa_identities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the directory whatever is known of it: whether it answers at all.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub(crate) async fn ask_anew(&self) -> Result<Arc<Directory>, AcmeError> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.directory().await
    }

    /// A new line of requests.
    pub(super) fn line(&self) -> Line {
        let store = self.store.clone();
        Line {
            recorder: Recorder::new(Arc::clone(&self.http), Arc::clone(&self.lane)),
            clock: Arc::new(move || store.now()),
        }
    }

    /// A session in our account, which is made if there is none.
    pub(crate) async fn session(&self) -> Result<Session, AcmeError> {
        let offers = self.directory().await?;
        let mut line = self.line();
        line.recorder.believe(&self.settings.directory, offers.text.clone());
        let record = match self.store.acme_account(&self.settings.directory).await? {
            Some(record) if record.account_url.is_some() && record.next_key.is_some() => {
                self.with_the_known_key(record).await?
            }
            Some(record) if record.account_url.is_some() => record,
            _ => self.register(&line, &offers).await?,
        };
        let key = self.sealing.open(&self.key_context(), &record.key)?;
        let url = record.account_url.unwrap_or_default();
        let account = step!(line, self.restore(&line, &url, &key))?;
        let offered = |wanted: &&String| offers.meta.profiles.contains_key(*wanted);
        let profile = self.settings.profiles.iter().find(offered).cloned();
        let advises = offers.renewal_info.is_some();
        Ok(Session { account, key: record.key, challenge: self.settings.challenge, profile, advises, line })
    }

    /// Forgets that the authority knew us, so that the next session registers the same key again. Somebody may have closed
    /// the account, or the store is another one's: so it is said aloud.
    pub(crate) async fn forget(&self, reason: &str) -> Result<(), AcmeError> {
        let directory = &self.settings.directory;
        let Some(record) = self.store.acme_account(directory).await? else { return Ok(()) };
        // Of several orders that heard so the first one has said it.
        let Some(account) = &record.account_url else { return Ok(()) };
        tracing::warn!(
            authority = directory,
            account,
            reason,
            "the authority does not know our account: its key is registered again"
        );
        Ok(self.store.set_account_url(directory, &record.key, None).await?)
    }

    /// Makes the account. The key is stored first: after a crash the same key is registered again, which
    /// gives the same account (RFC 8555 §7.3.1).
    async fn register(&self, line: &Line, offers: &Directory) -> Result<AccountRecord, AcmeError> {
        let _alone = self.making.lock().await;
        let record = match self.store.acme_account(&self.settings.directory).await? {
            Some(record) if record.account_url.is_some() => return Ok(record),
            Some(record) => record,
            None => self.new_key().await?,
        };
        let key = self.sealing.open(&self.key_context(), &record.key)?;
        let signer = Signer::new(&key)?;
        let payload = self.new_account(offers, &signer)?;
        let sign = |nonce: &str| signer.sign(&offers.new_account, nonce, &payload);
        let answer = send_signed(line, offers, &offers.new_account, sign).await?;
        let url = answer.header("location").ok_or_else(|| {
            let reason = "it gives the account no address".to_owned();
            AcmeError::Busy { reason, retry_at: None }
        })?;
        tracing::info!(directory = %self.settings.directory, account = %url, "registered with the certificate authority");
        self.store.set_account_url(&self.settings.directory, &record.key, Some(&url)).await?;
        Ok(AccountRecord { account_url: Some(url), ..record })
    }

    async fn restore(&self, line: &Line, url: &str, key: &[u8]) -> Result<Account, Error> {
        let builder = Account::builder_with_http(line.http());
        let key = PrivatePkcs8KeyDer::from(key);
        builder.from_parts(url.to_owned(), key, self.settings.directory.clone()).await
    }

    /// What we say of ourselves (RFC 8555 §7.3).
    fn new_account(&self, offers: &Directory, signer: &Signer) -> Result<serde_json::Value, AcmeError> {
        let mut account =
            json!({ "termsOfServiceAgreed": true, "contact": self.settings.contact.as_slice() });
        match &self.settings.external {
            Some(external) => {
                let key = external.key().map_err(|error| AcmeError::Refused(error.to_string()))?;
                let bound = jws::binding(&external.key_id, &key, &offers.new_account, signer.jwk());
                if let Some(account) = account.as_object_mut() {
                    account.insert("externalAccountBinding".to_owned(), bound);
                }
            }
            None if offers.meta.external_account_required => {
                let reason = "it wants an account that was made on its own site: write `acme.eab_key_id` and \
                              `acme.eab_hmac_key` as it shows them there";
                return Err(AcmeError::Refused(reason.to_owned()));
            }
            None => {}
        }
        Ok(account)
    }

    /// A new key, sealed.
    pub(super) fn sealed_key(&self) -> Result<Sealed, AcmeError> {
        let (_, der) = Key::generate_pkcs8().map_err(|error| AcmeError::Crypto(error.to_string()))?;
        Ok(self.sealing.seal(&self.key_context(), der.secret_pkcs8_der())?)
    }

    async fn new_key(&self) -> Result<AccountRecord, AcmeError> {
        let (directory, key) = (self.settings.directory.clone(), self.sealed_key()?);
        let record = AccountRecord { directory, account_url: None, key, next_key: None };
        // Another process may have been quicker: certificates of two accounts cannot take each other's place.
        Ok(self.store.begin_acme_account(record).await?)
    }

    pub(super) fn key_context(&self) -> String {
        AccountRecord::key_context(&self.settings.directory)
    }
}

impl Session {
    /// As [`Line::failed`].
    pub(crate) fn failed(&self, error: Error, tries: u32) -> Option<AcmeError> {
        self.line.failed(error, tries)
    }

    /// Whether the authority may have done what it was asked for last, though the step failed.
    pub(crate) fn may_have_acted(&self) -> bool {
        let last = self.line.recorder.last();
        last.is_lost || last.status.is_some_and(|status| status.is_success())
    }

    /// Whether the last answer said that what was asked for does not exist (any more).
    pub(crate) fn heard_gone(&self) -> bool {
        self.line.recorder.last().status.is_some_and(|status| matches!(status.as_u16(), 404 | 410))
    }
}

/// A fresh nonce.
async fn nonce(line: &Line, offers: &Directory) -> Result<String, Error> {
    let answer = directory::ask(&line.recorder, Method::HEAD, &offers.new_nonce).await?;
    answer.header("replay-nonce").ok_or(Error::Str("the authority gives no nonce"))
}

/// Sends what `sign` makes with a fresh nonce, and again if only the nonce was refused.
pub(super) async fn send_signed(
    line: &Line,
    offers: &Directory,
    url: &str,
    sign: impl Fn(&str) -> Result<Vec<u8>, AcmeError>,
) -> Result<Answered, AcmeError> {
    let mut tries = 1_u32;
    loop {
        let nonce = step!(line, nonce(line, offers))?;
        let sent = directory::post(&line.recorder, url, sign(&nonce)?).await;
        match sent.and_then(|answer| answer.good().map(|()| answer)) {
            Ok(answer) => return Ok(answer),
            Err(error) => line.failed(error, tries).map_or(Ok(()), Err)?,
        }
        tries += 1;
    }
}

impl Line {
    /// As [`Self::failed`], of a step that is not sent again.
    pub(super) fn sorted(&self, error: Error) -> AcmeError {
        classify(error, &self.recorder.last(), (self.clock)())
    }

    /// What becomes of a step that failed for the `tries`th time; none: it is sent again, because only its
    /// nonce was refused.
    pub(super) fn failed(&self, error: Error, tries: u32) -> Option<AcmeError> {
        let again = is_bad_nonce(&error) && tries < NONCE_TRIES;
        (!again).then(|| self.sorted(error))
    }

    fn http(&self) -> Box<dyn HttpClient> {
        Box::new(self.recorder.clone())
    }
}
