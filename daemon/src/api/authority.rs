//! Clients made with gRPC's C core (Python, C++, Ruby, PHP), and those for Java and Swift, send the socket's path as
//! `:authority`. To h2 that is malformed, and it resets the stream before any code of ours is asked (hyperium/h2 487).
//!
//! On a Unix socket an authority says nothing, so its value is overwritten on the way in, in place: same length, plain
//! letters. Frames keep their size and HPACK its tables, because what is stored under an index is never longer than what
//! the client stored. Everything else passes as it came; what cannot be understood is left to h2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

use super::{identity::Peer, places::Place};

/// A client's connection whose `:authority` is always acceptable.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    overwriter: Overwriter,
    _place: Place,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, place: Place) -> Self {
        Self {
            stream,
            overwriter: Overwriter::default(),
            _place: place,
        }
    }
}

/// Who connected, as the kernel says; `None` when it does not.
pub(super) fn uid_of(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|credentials| credentials.uid())
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer::Local(uid_of(&self.stream))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.overwriter.pass(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// `PRI * HTTP/2.0` and so on, before the first frame.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Of `:authority` in HPACK's static table.
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";
/// The same in HPACK's Huffman code.
const AUTHORITY_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// Longest integer of HPACK that we follow, in bytes after the first.
const MAX_INTEGER: u32 = 4;

/// Follows the frames of one connection.
#[derive(Debug)]
struct Overwriter {
    /// Bytes of the preface, of the payload of an uninteresting frame or of padding that pass unseen.
    skip: usize,
    head: Vec<u8>,
    /// Bytes of padding length and priority before the header block.
    prologue: usize,
    /// Bytes left of the header block in this frame.
    block: usize,
    /// Bytes of padding after it.
    padding: usize,
    padded: bool,
    fields: Fields,
    /// The stream is none that we understand.
    lost: bool,
}

impl Default for Overwriter {
    fn default() -> Self {
        Self {
            skip: PREFACE,
            head: Vec::with_capacity(FRAME_HEAD),
            prologue: 0,
            block: 0,
            padding: 0,
            padded: false,
            fields: Fields::default(),
            lost: false,
        }
    }
}

impl Overwriter {
    /// Looks at the next bytes of the connection and overwrites what must be.
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() && !self.lost {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            if let Some(byte) = bytes.get_mut(at) {
                self.byte(byte);
                at += 1;
            }
        }
    }

    fn byte(&mut self, byte: &mut u8) {
        if self.prologue > 0 {
            self.prologue -= 1;
            if std::mem::take(&mut self.padded) {
                self.padding = usize::from(*byte);
                self.lost |= self.padding > self.block;
                self.block = self.block.saturating_sub(self.padding);
            }
        } else if self.block > 0 {
            self.block -= 1;
            self.lost |= self.fields.byte(byte).is_none();
        } else {
            self.head.push(*byte);
            if self.head.len() < FRAME_HEAD {
                return;
            }
            self.frame();
        }
        if self.prologue == 0 && self.block == 0 {
            self.skip += std::mem::take(&mut self.padding);
        }
    }

    /// A frame begins.
    fn frame(&mut self) {
        let length = self.head[..3]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (kind, flags) = (self.head[3], self.head[4]);
        self.head.clear();
        match kind {
            HEADERS => {
                self.fields = Fields::default();
                self.padded = flags & PADDED != 0;
                self.prologue = usize::from(self.padded) + if flags & PRIORITY != 0 { 5 } else { 0 };
                self.lost |= self.prologue > length;
                self.block = length.saturating_sub(self.prologue);
            }
            CONTINUATION => self.block = length,
            _ => self.skip = length,
        }
    }
}

/// Follows the fields of one header block (RFC 7541, 6).
#[derive(Debug, Default)]
struct Fields {
    at: At,
    /// The integer being read.
    integer: usize,
    shift: u32,
    /// The literal name being read, as far as it may be ours.
    name: Vec<u8>,
    huffman: bool,
    authority: bool,
}

/// What the next byte is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Field,
    /// The rest of an integer that is no name of a literal.
    Passing,
    NameIndex,
    NameLength,
    NameLengthRest,
    Name,
    ValueLength,
    ValueLengthRest,
    Value,
}

impl Fields {
    /// `None`: this is no HPACK that we understand.
    fn byte(&mut self, byte: &mut u8) -> Option<()> {
        match self.at {
            At::Field => {
                self.authority = false;
                let (bits, literal) = match *byte {
                    0x80.. => (7, false),
                    0x40.. => (6, true),
                    0x20.. => (5, false),
                    _ => (4, true),
                };
                let whole = self.begin(*byte, bits);
                match (literal, whole) {
                    (true, true) => self.named(),
                    (true, false) => self.at = At::NameIndex,
                    (false, true) => {}
                    (false, false) => self.at = At::Passing,
                }
            }
            At::Passing => {
                if self.rest(*byte)? {
                    self.at = At::Field;
                }
            }
            At::NameIndex => {
                if self.rest(*byte)? {
                    self.named();
                }
            }
            At::NameLength => {
                self.huffman = *byte & 0x80 != 0;
                self.name.clear();
                self.at = At::NameLengthRest;
                if self.begin(*byte, 7) {
                    self.name_begins();
                }
            }
            At::NameLengthRest => {
                if self.rest(*byte)? {
                    self.name_begins();
                }
            }
            At::Name => {
                if self.name.len() <= AUTHORITY.len() {
                    self.name.push(*byte);
                }
                self.integer -= 1;
                self.name_begins();
            }
            At::ValueLength => {
                let whole = self.begin(*byte, 7);
                if self.authority {
                    // What we write is not in Huffman's code.
                    *byte &= 0x7f;
                }
                self.at = At::ValueLengthRest;
                if whole {
                    self.value_goes_on();
                }
            }
            At::ValueLengthRest => {
                if self.rest(*byte)? {
                    self.value_goes_on();
                }
            }
            At::Value => {
                if self.authority {
                    *byte = b'x';
                }
                self.integer -= 1;
                self.value_goes_on();
            }
        }
        Some(())
    }

    /// The first byte of an integer with a prefix of so many bits; says whether it is all of it.
    fn begin(&mut self, byte: u8, bits: u32) -> bool {
        let most = (1_usize << bits) - 1;
        self.integer = usize::from(byte) & most;
        self.shift = 0;
        self.integer < most
    }

    /// A further byte of an integer; says whether it is the last.
    fn rest(&mut self, byte: u8) -> Option<bool> {
        if self.shift >= 7 * MAX_INTEGER {
            return None;
        }
        self.integer += usize::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        Some(byte & 0x80 == 0)
    }

    /// The index of a literal's name is known.
    fn named(&mut self) {
        self.authority = self.integer == AUTHORITY_INDEX;
        self.at = if self.integer == 0 {
            At::NameLength
        } else {
            At::ValueLength
        };
    }

    fn name_begins(&mut self) {
        self.at = At::Name;
        if self.integer == 0 {
            let ours = if self.huffman { AUTHORITY_HUFFMAN } else { AUTHORITY };
            self.authority = self.name == ours;
            self.at = At::ValueLength;
        }
    }

    fn value_goes_on(&mut self) {
        self.at = if self.integer == 0 { At::Field } else { At::Value };
    }
}

#[cfg(test)]
mod tests;
