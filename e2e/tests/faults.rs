//! What a machine runs out of: file descriptors, and room on the disk. Visitors are served as far as can be, the
//! operator is told once, and when there is enough again everything goes on by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use testkit::stoa::Stoa;
use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::installation::WithApp;

#[tokio::test]
async fn without_file_descriptors_visitors_wait_and_are_served_later() -> Result<()> {
    let installed = WithApp::start().await?;
    let (edge, host) = (installed.stoa.edge(), &installed.app.hostname);
    let mut kept = edge.tls()?.offering(&["http/1.1"]).connect(edge.https, host).await?;
    ask(&mut kept, host).await?;
    let pid = wait::until("a process in charge", wait::LONG, async || installed.stoa.in_charge()).await?;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    limit(pid, &format!("{}:", open + 8))?;
    let mut crowd = Vec::new();
    for _ in 0..32 {
        crowd.push(TcpStream::connect(edge.https).await?);
    }
    wait::until("the reason", wait::LONG, async || {
        ensure!(installed.stoa.log().contains("listener cannot accept"));
        Ok(())
    })
    .await?;
    // Who is there already is served: the connection to the app is kept.
    ask(&mut kept, host).await?;
    let told = installed.stoa.log().matches("listener cannot accept").count();
    ensure!(told <= workers(), "it was told {told} times");
    drop(crowd);
    wait::until("an answer", wait::LONG, async || {
        ensure!(installed.app.get("/").send().await?.status == 200);
        Ok(())
    })
    .await?;
    ensure!(installed.stoa.log().contains("listener accepts again"));
    Ok(())
}

/// A listener of each worker may tell it.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * 2
}

fn limit(pid: u32, open_files: &str) -> Result<()> {
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={open_files}")])
        .status()?;
    ensure!(status.success(), "prlimit (Debian: util-linux) did not set the limit");
    Ok(())
}

async fn ask(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    host: &str,
) -> Result<()> {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"one") {
        ensure!(stream.read_buf(&mut answer).await? > 0, "{}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

#[tokio::test]
async fn at_the_start_the_limit_of_file_descriptors_is_raised_as_far_as_it_goes() -> Result<()> {
    let line = ["prlimit", "--nofile=200:4096"].map(str::to_owned).to_vec();
    let stoa = Stoa::builder().under(line).start().await?;
    // It is in charge a moment after it is ready.
    let pid = wait::until("a process in charge", wait::LONG, async || stoa.in_charge()).await?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    ensure!(files.split_whitespace().nth(3) == Some("4096"), "{files}");
    ensure!(stoa.log().contains("file descriptors may run out"), "{}", stoa.log());
    Ok(())
}

/// A small disk of its own; taken away when dropped.
struct Disk(PathBuf);

impl Disk {
    /// None if this test may not mount one.
    fn mount(at: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "none"]).arg(at).status()?;
        Ok(status.success().then(|| Self(at.to_owned())))
    }

    /// Fills it to the last block.
    fn fill(&self) -> Result<()> {
        let zeros = vec![0_u8; 4096];
        let mut file = std::fs::File::create(self.0.join("filler"))?;
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still has files open keeps it until it ends.
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_changes_but_no_visitor_and_costs_no_usage() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = Disk::mount(&dir.path().join("data"))? else {
        println!("SKIPPED: only root may mount a small disk");
        return Ok(());
    };
    let mut installed = WithApp::over(Stoa::builder().data(&disk.0).start().await?).await?;
    disk.fill()?;
    let visitor = installed.stoa.edge().visitor(&installed.app.hostname)?;
    for _ in 0..20 {
        ensure!(visitor.get("/").await? == "one");
    }
    let refused = installed.stoa.api()?.post("/tenants", json!({ "name": "bob", "slug": "bob" })).await?;
    ensure!((500..600).contains(&refused.status), "{refused:?}");
    wait::until("the reasons", wait::LONG, async || {
        ensure!(visitor.get("/").await? == "one");
        let log = installed.stoa.log();
        ensure!(log.contains("access log cannot be written"), "{log}");
        ensure!(log.contains("usage"), "{log}");
        Ok(())
    })
    .await?;
    ensure!(installed.stoa.log().matches("access log cannot be written").count() == 1);
    disk.make_room()?;
    wait::until("a change", wait::LONG, async || {
        installed.stoa.api()?.post("/tenants", json!({ "name": "bob", "slug": "bob" })).await?.ok().map(drop)
    })
    .await?;
    all_is_counted(&installed).await?;
    installed.stoa.kill9();
    installed.stoa.start_again().await?;
    ensure!(installed.app.get("/").send().await?.status == 200);
    ensure!(!installed.stoa.log().contains("damaged"), "{}", installed.stoa.log());
    all_is_counted(&installed).await
}

async fn all_is_counted(installed: &WithApp) -> Result<()> {
    wait::until("everything to be counted", wait::LONG, async || {
        let (used, seen) = (installed.tenant.used().await?, installed.origin.requests());
        ensure!(used.visitor == seen, "{used:?}, {seen} seen");
        Ok(())
    })
    .await
}
