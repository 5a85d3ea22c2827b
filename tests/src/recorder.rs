//! A disk that remembers: one file, served over FUSE, that notes every write and every flush in their order. A loop device on
//! it shows what a file system asked of its disk, and [`Log::cut`] makes the disks that a power cut may leave of it.
//!
//! The protocol is that of `linux/fuse.h`. What a loop device asks for is a dozen requests, so no library is needed; what else
//! is asked is refused. Mounting needs root.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use anyhow::{Context as _, ensure};

/// Name of the one file.
const NAME: &str = "disk";
const ROOT: u64 = 1;
const DISK: u64 = 2;
/// Before every request and every answer.
const HEADER: usize = 40;
/// Where the bytes of a write begin.
const WRITTEN: usize = 80;
/// Most bytes of one write.
const MOST: usize = 128 << 10;
/// What a disk writes whole or not at all.
const BLOCK: usize = 4096;
/// Seconds for which the system may remember what it was told: nothing changes behind it.
const KEEP: u64 = 3600;

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENOSYS: i32 = 38;

/// What was asked of a disk, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Bytes from `at` on in the log's file, for `offset` on the disk.
    Write { offset: u64, at: u64, length: usize },
    /// All writes before are on the disk when this was answered.
    Flush,
}

/// A disk at work.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    noted: Arc<Mutex<Vec<Asked>>>,
    bytes: Arc<File>,
    serving: JoinHandle<()>,
}

/// Everything that was asked of a disk.
#[derive(Debug)]
pub struct Log {
    asked: Vec<Asked>,
    bytes: Arc<File>,
}

impl Recorder {
    /// Serves the image as [`Recorder::disk`] in a folder; what is written to it is kept in the file `bytes` as well.
    ///
    /// # Errors
    /// When FUSE is not there, or we may not mount.
    pub fn mount(folder: &Path, image: &Path, bytes: &Path) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        };
        let device = open(Path::new("/dev/fuse"))?;
        std::fs::create_dir_all(folder)?;
        let mounted = Command::new("mount")
            .args([
                "-i",
                "-t",
                "fuse",
                "-o",
                "fd=0,rootmode=40000,user_id=0,group_id=0",
                "recorder",
            ])
            .arg(folder)
            .stdin(Stdio::from(device.try_clone()?))
            .output()?;
        ensure!(
            mounted.status.success(),
            "mount: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        let (noted, bytes) = (Arc::default(), Arc::new(open(bytes)?));
        let server = Server {
            device,
            image: open(image)?,
            bytes: bytes.clone(),
            length: 0,
            noted: Arc::clone(&noted),
        };
        let serving = std::thread::spawn(move || server.serve());
        Ok(Self {
            folder: folder.to_owned(),
            noted,
            bytes,
            serving,
        })
    }

    /// The disk's file.
    pub fn disk(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// How much was asked so far: a moment in the log.
    pub fn now(&self) -> usize {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends it; nobody may use the disk any more.
    ///
    /// # Errors
    /// When it is in use.
    pub fn unmount(self) -> anyhow::Result<Log> {
        let ended = Command::new("umount").arg(&self.folder).output()?;
        ensure!(
            ended.status.success(),
            "umount: {}",
            String::from_utf8_lossy(&ended.stderr)
        );
        self.serving
            .join()
            .map_err(|_| anyhow::anyhow!("the recorder panicked"))?;
        let asked = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Log {
            asked,
            bytes: self.bytes,
        })
    }
}

impl Log {
    /// Its last moment.
    pub fn end(&self) -> usize {
        self.asked.len()
    }

    /// Makes of an image of the disk's beginning one that power lost at a moment may leave: all that was flushed before, and of
    /// each later write none, some or all blocks.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn cut(&self, moment: usize, image: &Path, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let image = File::options().write(true).open(image)?;
        let before = &self.asked[..moment];
        let flushed = before.iter().rposition(|asked| *asked == Asked::Flush).unwrap_or(0);
        let mut buffer = vec![0; MOST];
        for (number, asked) in before.iter().enumerate() {
            let Asked::Write { offset, at, length } = *asked else {
                continue;
            };
            let bytes = &mut buffer[..length];
            self.bytes.read_exact_at(bytes, at)?;
            // One write in three is lost whole, one is on the disk whole, one was interrupted.
            let fate = random.u8(0..3);
            for (block, bytes) in bytes.chunks(BLOCK).enumerate() {
                if number < flushed || fate == 1 || fate == 2 && random.bool() {
                    image.write_all_at(bytes, offset + (block * BLOCK) as u64)?;
                }
            }
        }
        Ok(())
    }
}

struct Server {
    device: File,
    image: File,
    bytes: Arc<File>,
    /// Of `bytes`.
    length: u64,
    noted: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn serve(mut self) {
        let mut request = vec![0; MOST + BLOCK];
        loop {
            let length = match self.device.read(&mut request) {
                Ok(length) if length >= HEADER => length,
                // A request that was taken back.
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::Interrupted | std::io::ErrorKind::NotFound
                    ) =>
                {
                    continue;
                }
                // Unmounted.
                Ok(_) | Err(_) => return,
            };
            let request = &request[..length];
            let (operation, unique) = (u32_at(request, 4), u64_at(request, 8));
            if let Some(answer) = self.answer(operation, request) {
                let (error, payload) = answer.map_or_else(|error| (-error, Vec::new()), |payload| (0, payload));
                let mut message = Vec::with_capacity(16 + payload.len());
                message.extend(u32::try_from(16 + payload.len()).unwrap_or(u32::MAX).to_ne_bytes());
                message.extend(error.to_ne_bytes());
                message.extend(unique.to_ne_bytes());
                message.extend(payload);
                // Nobody waits for it any more: it was interrupted, or all is over.
                let _unwanted = self.device.write(&message);
            }
        }
    }

    /// `None`: it wants no answer.
    fn answer(&mut self, operation: u32, request: &[u8]) -> Option<Result<Vec<u8>, i32>> {
        let node = u64_at(request, 16);
        Some(match operation {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // LOOKUP
            1 => match request[HEADER..].strip_suffix(b"\0") {
                Some(name) if name == NAME.as_bytes() => self.entry(),
                _ => Err(ENOENT),
            },
            // GETATTR, SETATTR
            3 | 4 => self.attributes(node).map(|attributes| {
                let mut answer = [KEEP, 0].map(u64::to_ne_bytes).concat();
                answer.extend(attributes);
                answer
            }),
            // OPEN
            14 => Ok(vec![0; 16]),
            // READ
            15 => self.read(u64_at(request, HEADER + 8), u32_at(request, HEADER + 16) as usize),
            // WRITE
            16 => self.write(u64_at(request, HEADER + 8), &request[WRITTEN..]),
            // FSYNC
            20 => {
                self.note(Asked::Flush);
                Ok(Vec::new())
            }
            // STATFS
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH, DESTROY
            18 | 25 | 38 => Ok(Vec::new()),
            // INIT
            26 => Ok(init()),
            _ => Err(ENOSYS),
        })
    }

    fn entry(&self) -> Result<Vec<u8>, i32> {
        let mut answer = [DISK, 0, KEEP, KEEP, 0].map(u64::to_ne_bytes).concat();
        answer.extend(self.attributes(DISK)?);
        Ok(answer)
    }

    fn attributes(&self, node: u64) -> Result<Vec<u8>, i32> {
        let size = self.image.metadata().map_err(|_| EIO)?.len();
        let (size, mode) = if node == ROOT { (0, 0o40_700) } else { (size, 0o100_600) };
        // Number, size, blocks, three times.
        let mut answer = [node, size, size / 512, 0, 0, 0].map(u64::to_ne_bytes).concat();
        // Their parts below a second, mode, links, owner, group, device, size of a block, flags.
        answer.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat());
        Ok(answer)
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, i32> {
        let mut bytes = vec![0; length];
        self.image.read_exact_at(&mut bytes, offset).map_err(|_| EIO)?;
        Ok(bytes)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<Vec<u8>, i32> {
        self.image.write_all_at(bytes, offset).map_err(|_| EIO)?;
        self.bytes.write_all_at(bytes, self.length).map_err(|_| EIO)?;
        self.note(Asked::Write {
            offset,
            at: self.length,
            length: bytes.len(),
        });
        self.length += bytes.len() as u64;
        let length = u32::try_from(bytes.len()).map_err(|_| EIO)?;
        Ok([length, 0].map(u32::to_ne_bytes).concat())
    }

    fn note(&self, asked: Asked) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }
}

/// Version 7.31, and how much may be written at a time.
fn init() -> Vec<u8> {
    let background = (16_u32 << 16) | 12;
    let most = u32::try_from(MOST).unwrap_or(4096);
    let mut answer = [7, 31, most, 0, background, most, 1].map(u32::to_ne_bytes).concat();
    answer.resize(64, 0);
    answer
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Runs a command to its end.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .with_context(|| words.join(" "))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
