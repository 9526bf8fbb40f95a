//! The least that an edge is to certd: it follows the store's log, answers http-01 over HTTP, shows
//! certificates over TLS, and reports how far it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use model::Host;
use model::acme::HTTP01_PREFIX;
use model::certificate::Certificate;
use model::change::{Lineage, Object, ObjectId, Revision};
use model::edge::EdgeReport;
use model::id::{CertificateId, EdgeId};
use model::seal::SealingKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A running edge, ended when dropped.
pub(crate) struct Edge {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    memory: Arc<Memory>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Memory {
    sealing: SealingKey,
    answers: Mutex<HashMap<String, String>>,
    certificates: Mutex<HashMap<CertificateId, (Certificate, Arc<CertifiedKey>)>>,
}

impl Edge {
    pub(crate) async fn start(sealing: &SealingKey) -> Result<Self> {
        let memory = Arc::new(Memory {
            sealing: sealing.clone(),
            answers: Mutex::default(),
            certificates: Mutex::default(),
        });
        let http = TcpListener::bind("127.0.0.1:0").await?;
        let https = TcpListener::bind("127.0.0.1:0").await?;
        let (http_at, https_at) = (http.local_addr()?, https.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(answer(http, Arc::clone(&memory)));
        tasks.spawn(shake(https, Arc::clone(&memory)));
        Ok(Self { http: http_at, https: https_at, memory, tasks: Mutex::new(tasks) })
    }

    /// Serves what is in `store` as well.
    pub(crate) fn follow(&self, store: &Store) {
        self.tasks.lock().unwrap().spawn(follow(store.clone(), Arc::clone(&self.memory)));
    }

    /// The tokens that an answer is held for.
    pub(crate) fn answers(&self) -> usize {
        self.memory.answers.lock().unwrap().len()
    }
}

async fn follow(store: Store, memory: Arc<Memory>) {
    let edge = EdgeId::generate(store.now());
    let (mut lineage, mut after) = (Lineage::default(), Revision(0));
    loop {
        // An error: the test is over and its store is closed.
        let Ok(batch) = store.changes(&lineage, after, 100).await else { return };
        for change in batch.changes {
            memory.apply(change.id, change.object);
        }
        (lineage, after) = (batch.lineage, batch.next);
        if !batch.more {
            let report = EdgeReport {
                edge,
                revision: after,
                version: "test".to_owned(),
                started_at: store.now(),
                sites: 0,
                certificates: 0,
            };
            let mut watch = store.watch();
            if store.report_edge(&report).await.is_err() {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await;
        }
    }
}

impl Memory {
    fn apply(&self, id: ObjectId, object: Option<Object>) {
        match (id, object) {
            (ObjectId::Challenge(_), Some(Object::Challenge(challenge))) => {
                let answer = challenge.key_authorization;
                self.answers.lock().unwrap().insert(challenge.token.to_string(), answer);
            }
            (ObjectId::Challenge(token), None) => {
                self.answers.lock().unwrap().remove(token.as_str());
            }
            (ObjectId::Certificate(id), Some(Object::Certificate(certificate))) => {
                let key = self.open(&certificate);
                self.certificates.lock().unwrap().insert(id, (certificate, key));
            }
            (ObjectId::Certificate(id), None) => {
                self.certificates.lock().unwrap().remove(&id);
            }
            _ => {}
        }
    }

    fn open(&self, certificate: &Certificate) -> Arc<CertifiedKey> {
        let context = Certificate::key_context(certificate.id);
        let key = self.sealing.open(&context, &certificate.key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
        let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        Arc::new(CertifiedKey::new(chain, any_supported_type(&key).unwrap()))
    }
}

impl ResolvesServerCert for Memory {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = Host::parse(hello.server_name()?).ok()?;
        let certificates = self.certificates.lock().unwrap();
        let fitting =
            certificates.values().filter(|(held, _)| held.names.iter().any(|name| name.covers(&host)));
        fitting.max_by_key(|(held, _)| (held.not_before, held.id)).map(|(_, key)| Arc::clone(key))
    }
}

async fn shake(listener: TcpListener, memory: Arc<Memory>) {
    let config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(memory);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move { drop(acceptor.accept(tcp).await) });
    }
}

async fn answer(listener: TcpListener, memory: Arc<Memory>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let memory = Arc::clone(&memory);
        tokio::spawn(async move { drop(answer_one(tcp, &memory).await) });
    }
}

async fn answer_one(mut tcp: TcpStream, memory: &Memory) -> Result<()> {
    let mut text = Vec::new();
    while !text.windows(4).any(|end| end == b"\r\n\r\n") && tcp.read_buf(&mut text).await? > 0 {}
    let text = String::from_utf8(text)?;
    let path = text.split(' ').nth(1).unwrap_or_default();
    let token = path.strip_prefix(HTTP01_PREFIX).unwrap_or_default().to_owned();
    let answer = memory.answers.lock().unwrap().get(&token).cloned();
    let (status, body) = answer.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    tcp.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(())
}
