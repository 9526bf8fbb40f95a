//! Idle connections: what each costs a proxy in memory once it has carried one request.
//!
//! TLS 1.3 and HTTP/1.1, one GET of 1 KB each, then silence. Bytes are what the kernel counts as resident of the
//! proxy and its worker; what sockets take in the kernel is nobody's. The clients keep their sockets and forget the
//! rest. They come from many addresses of loopback, because Stoa lets one address have 512 connections.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::NamedGroup;
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::beside::{Field, Runner};
use crate::Effort;
use crate::cpu;
use crate::figure::{Report, number};
use crate::machine;
use crate::peer::HOST;

/// Connections that are made at a time.
const AT_A_TIME: usize = 16;
/// Connections of one address.
const OF_ONE_ADDRESS: usize = 250;
/// Connections that come and go before memory is looked at: keys are open, pools and caches filled.
const WARMING: usize = 64;
/// Files that a generator or a proxy has open beside its connections.
const OTHER_FILES: u64 = 1_000;
/// Stoa's configuration: as the default, with a little more room than is used.
const ROOM: &str = "max_connections = 12000";
/// What the backend answers.
const BODY_BYTES: usize = 1024;

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let count = if effort.quick { 1_000 } else { 10_000 };
    machine::open_files(u64::try_from(count)? + OTHER_FILES)?;
    let Some(field) = Field::open_with(ROOM, report).await? else { return Ok(()) };
    machine::stay_on(field.core)?;
    let mut stoa = None;
    for runner in &field.runners {
        let measured = measure(runner, count).await.with_context(|| format!("at {}", runner.name));
        let [before, after] = match measured {
            // A peer may hold fewer on this machine.
            Err(error) if stoa.is_some() => {
                report.skip(runner.name, &format!("{error:#}"));
                continue;
            }
            measured => measured?,
        };
        let each = (after - before) / number(count) / 1024.0;
        report.add(runner.name, "memory_per_idle_connection", each, "KB");
        report.add(runner.name, "resident_before", before / 1_048_576.0, "MB");
        report.add(runner.name, "resident_with_connections", after / 1_048_576.0, "MB");
        match stoa {
            None => stoa = Some(each),
            Some(stoa) => report.add("stoa", &format!("memory_ratio_to_{}", runner.name), stoa / each, "×"),
        }
    }
    Ok(())
}

/// Resident bytes without and with so many idle connections.
async fn measure(runner: &Runner, count: usize) -> anyhow::Result<[f64; 2]> {
    drop(hold(runner.port, WARMING).await?);
    let before = cpu::settled_bytes(runner.pid).await?;
    let held = hold(runner.port, count).await?;
    let after = cpu::settled_bytes(runner.pid).await?;
    let closed = held.iter().filter(|socket| !is_open(socket)).count();
    ensure!(closed == 0, "{closed} of {count} connections were closed while they were counted");
    Ok([before, after])
}

/// So many connections that are idle.
async fn hold(port: u16, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let tls = Arc::new(Tls::trusting_anyone_by(NamedGroup::X25519).offering(&["http/1.1"]));
    let mut makers = JoinSet::new();
    for first in 0..AT_A_TIME {
        let tls = Arc::clone(&tls);
        makers.spawn(async move {
            let mut held = Vec::new();
            for at in (first..count).step_by(AT_A_TIME) {
                held.push(connect(&tls, port, at).await?);
            }
            anyhow::Ok(held)
        });
    }
    let mut held = Vec::with_capacity(count);
    while let Some(made) = makers.join_next().await {
        held.extend(made??);
    }
    Ok(held)
}

/// The connection of that number, after one request.
async fn connect(tls: &Tls, port: u16, at: usize) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((address(at)?, 0)))?;
    let tcp = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    let mut stream = tls.secure(tcp, HOST).await.context("no handshake")?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        ensure!(stream.read_buf(&mut answer).await? > 0, "half an answer");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    Ok(stream.into_inner().0)
}

/// 127.0.0.2 and on: the one before is everybody's.
fn address(at: usize) -> anyhow::Result<Ipv4Addr> {
    Ok(Ipv4Addr::new(127, 0, 0, u8::try_from(2 + at / OF_ONE_ADDRESS).context("too many connections")?))
}

/// Whether head and body are there.
fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + BODY_BYTES)
}

/// Whether the other side has not ended it; session tickets may be there to read.
fn is_open(socket: &TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match socket.try_read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_has_more_connections_than_stoa_lets_it_have() {
        assert_eq!(address(0).unwrap(), address(OF_ONE_ADDRESS - 1).unwrap());
        assert_ne!(address(0).unwrap(), address(OF_ONE_ADDRESS).unwrap());
        assert!(address(9_999).is_ok() && address(100_000).is_err());
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let mut answer = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; BODY_BYTES - 1]].concat();
        assert!(!is_whole(&answer) && !is_whole(b"HTTP/1.1 200 OK\r\n"));
        answer.push(b'x');
        assert!(is_whole(&answer));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_seen() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (client, (mut server, _)) = (client.unwrap(), server.unwrap());
        server.write_all(b"a ticket").await.unwrap();
        client.readable().await.unwrap();
        assert!(is_open(&client));
        drop(server);
        client.readable().await.unwrap();
        assert!(!is_open(&client));
    }
}
