//! The way between the two processes: a pair of Unix sockets, one of them the new process's standard input.
//!
//! Down it come named file descriptors, a message each, then an empty message. Up goes one line: `ready`, or
//! `failed` and why. It stays open until the old process ends, so that the new one knows when that was.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The line that says that the new process serves.
pub(super) const READY: &str = "ready";
/// How the line begins that says that it cannot.
pub(super) const FAILED: &str = "failed ";
/// The name of the data directory's lock.
pub(super) const LOCK: &str = "lock";

/// The longest name.
const MOST_NAME_BYTES: usize = 64;
/// What ends the gifts.
const END: &str = ".";

/// A file descriptor with a name that tells what it is.
#[derive(Debug)]
pub(crate) struct Gift {
    /// `http`, `https`, `metrics`, `api`, `demo` or `lock`.
    pub(crate) name: String,
    /// The socket, or the file.
    pub(crate) fd: OwnedFd,
}

/// Sends gifts and says that these were all.
pub(super) fn give(way: &UnixStream, gifts: &[Gift]) -> io::Result<()> {
    for gift in gifts {
        let fds = [gift.fd.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(way, &[IoSlice::new(gift.name.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    }
    let mut nothing = SendAncillaryBuffer::default();
    sendmsg(way, &[IoSlice::new(END.as_bytes())], &mut nothing, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes all gifts. The kernel never joins a message that carries a descriptor with the one after it
/// (unix(7)), so each read is one message.
pub(super) fn take(way: &UnixStream) -> io::Result<Vec<Gift>> {
    let mut gifts = Vec::new();
    loop {
        let mut name = [0; MOST_NAME_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(way, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let name = String::from_utf8_lossy(name.get(..read.bytes).unwrap_or_default()).into_owned();
        match fds.next() {
            Some(fd) => gifts.push(Gift { name, fd }),
            None if name == END => return Ok(gifts),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_arrive_with_their_names_and_in_order() -> anyhow::Result<()> {
        let (one, other) = UnixStream::pair()?;
        let sockets = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        let gifts: Vec<Gift> = ["http", "https"]
            .into_iter()
            .zip(sockets)
            .map(|(name, socket)| Gift { name: name.to_owned(), fd: socket.into() })
            .collect();
        give(&one, &gifts)?;
        drop(gifts);
        let taken = take(&other)?;
        let names: Vec<&str> = taken.iter().map(|gift| gift.name.as_str()).collect();
        assert_eq!(names, ["http", "https"]);
        for (gift, address) in taken.into_iter().zip(addresses) {
            assert_eq!(TcpListener::from(gift.fd).local_addr()?, address);
        }
        Ok(())
    }

    #[test]
    fn a_giver_who_is_gone_is_an_error() -> anyhow::Result<()> {
        let (one, other) = UnixStream::pair()?;
        drop(one);
        assert_eq!(take(&other).map(|_| ()).map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
        Ok(())
    }
}
