//! A name server that answers as told, for tests that have a network of their own ([`crate::own_network`]).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{net::UdpSocket, task::JoinSet};

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses, of both families.
    Addresses(Vec<IpAddr>),
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The server cannot say (SERVFAIL).
    Failure,
    /// Nothing is said at all.
    Silence,
}

const NAME_ERROR: u8 = 3;
const SERVER_FAILURE: u8 = 2;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
/// Length of the header, and where the question begins.
const HEADER: usize = 12;

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, Answer>,
    asked: Vec<String>,
}

/// A running name server at port 53; names that it was not told of do not exist.
#[derive(Debug)]
pub struct NameServer {
    zone: Arc<Mutex<Zone>>,
    _task: JoinSet<()>,
}

impl NameServer {
    /// Starts it at 127.0.0.1, where everybody asks.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// Starts it at another address.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_at(address: Ipv4Addr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((address, 53)).await?;
        let zone = Arc::new(Mutex::new(Zone::default()));
        let mut task = JoinSet::new();
        task.spawn(serve(socket, Arc::clone(&zone)));
        Ok(Self { zone, _task: task })
    }

    /// Says what a name leads to from now on.
    pub fn set(&self, name: &str, answer: Answer) {
        self.zone().names.insert(name.to_owned(), answer);
    }

    /// The same with addresses as text.
    ///
    /// # Errors
    /// When one is none.
    pub fn lead(&self, name: &str, addresses: &[&str]) -> anyhow::Result<()> {
        let addresses = addresses
            .iter()
            .map(|address| address.parse())
            .collect::<Result<_, _>>()?;
        self.set(name, Answer::Addresses(addresses));
        Ok(())
    }

    /// How often a name was asked for.
    pub fn asked(&self, name: &str) -> usize {
        self.zone().asked.iter().filter(|asked| *asked == name).count()
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut query = [0; 512];
    while let Ok((length, peer)) = socket.recv_from(&mut query).await {
        let Some((name, kind, end)) = question(&query[..length]) else {
            continue;
        };
        let answer = {
            let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
            zone.asked.push(name.clone());
            zone.names.get(&name).cloned().unwrap_or(Answer::NoSuchName)
        };
        if let Some(message) = reply(&query[..end], kind, &answer) {
            // Who asks will ask again.
            socket.send_to(&message, peer).await.ok();
        }
    }
}

/// Name, type, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// The message for a question, which is repeated in it.
fn reply(query: &[u8], kind: u16, answer: &Answer) -> Option<Vec<u8>> {
    let (code, addresses) = match answer {
        Answer::Addresses(addresses) => (0, addresses.as_slice()),
        Answer::NoSuchName => (NAME_ERROR, &[][..]),
        Answer::Failure => (SERVER_FAILURE, &[][..]),
        Answer::Silence => return None,
    };
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), TYPE_A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), TYPE_AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut message = query.to_vec();
    // An answer, recursion desired and available.
    message[2] = 0x81;
    message[3] = 0x80 | code;
    let count = u8::try_from(records.len()).ok()?;
    // One question, so many answers, nothing else: what the question had beside it is cut off.
    message[4..HEADER].copy_from_slice(&[0, 1, 0, count, 0, 0, 0, 0]);
    for record in records {
        // The name of the question; type, class IN, not to be kept.
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::try_from(record.len()).ok()?]);
        message.extend_from_slice(&record);
    }
    Some(message)
}
