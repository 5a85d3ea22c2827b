//! `[storage]`: where files go and how full the disk may get.

use std::{path::PathBuf, time::Duration};

use crate::config::{
    inputs::Context,
    origin::Origin,
    paths,
    places::Mode,
    section::Reader,
    shape::{Checked, fault},
    tree::{Node, Table, Value},
    values,
};
use crate::model::units::parse_size;

/// `[storage]`.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageOptions {
    /// Absolute; the first is the default. Never empty.
    pub caches: Vec<PathBuf>,
    /// System mode: local directories must lie below one of these.
    pub local_roots: Vec<PathBuf>,
    /// What must stay free.
    pub min_free: MinFree,
    /// Partial files of jobs that failed stay so long.
    pub keep_partials: Duration,
    /// What becomes of downloaded bytes in the memory of the system.
    pub page_cache: PageCache,
}

/// How much of a file system must stay free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinFree {
    /// So many bytes.
    Bytes(u64),
    /// A share of the file system, from 0 to below 100.
    Percent(f64),
}

impl MinFree {
    /// The bytes that must stay free of `total`.
    pub fn bytes(&self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => *bytes,
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a disk, to some kilobytes; 0 <= percent < 100"
            )]
            Self::Percent(percent) => (total as f64 * percent / 100.0) as u64,
        }
    }
}

/// Whether downloaded bytes stay in memory, where they may push out other programs' files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageCache {
    /// The system decides.
    Keep,
    /// They are dropped once they are hashed and on the disk.
    Drop,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table, context: &Context<'_>) -> Option<StorageOptions> {
    let mut section = reader.section(root, "storage");
    let default = default_cache(context);
    let caches = match default {
        Some(default) => section.read("cache", default, |node| caches(node, context)),
        None if section.origin_of("cache").is_some() => section.read_required("cache", |node| caches(node, context)),
        None => {
            let message = "there is no home directory to keep a cache in: set HOME, HF_HUB_CACHE or this key";
            section.mistake(None, "cache", message);
            None
        }
    };
    let none = Node::built_in(Value::List(Vec::new()));
    let local_roots = section.read("local_roots", none, |node| values::each(node, values::path(context)));
    let min_free = match context.mode {
        Mode::User => "1GiB",
        Mode::System => "20GiB",
    };
    let min_free = section.read("min_free", min_free, min_free_of);
    let keep_partials = section.read("keep_partials", "7d", values::duration);
    let page_cache = values::word(&[("keep", PageCache::Keep), ("drop", PageCache::Drop)]);
    let page_cache = section.read("page_cache", "drop", page_cache);
    section.finish();
    Some(StorageOptions {
        caches: caches?,
        local_roots: local_roots?,
        min_free: min_free?,
        keep_partials: keep_partials?,
        page_cache: page_cache?,
    })
}

fn caches(node: &Node, context: &Context<'_>) -> Checked<Vec<PathBuf>> {
    let caches = values::each(node, values::path(context))?;
    match caches.is_empty() {
        true => Err(fault(node, "must name at least one directory")),
        false => Ok(caches),
    }
}

fn default_cache(context: &Context<'_>) -> Option<Node> {
    let (path, variable) = match context.mode {
        Mode::User => paths::user_cache(context.environment, context.current_dir)?,
        Mode::System => (PathBuf::from("/var/cache/hfetch/hub"), None),
    };
    Some(Node {
        value: Value::Text(path.to_string_lossy().into_owned()),
        origin: variable.map_or(Origin::Default, Origin::variable),
    })
}

fn min_free_of(node: &Node) -> Checked<MinFree> {
    values::parsed(node, |text| {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return parse_size(text).map(MinFree::Bytes).map_err(|why| why.to_string());
        };
        let percent = percent.trim().parse::<f64>().ok();
        percent
            .filter(|percent| (0.0..100.0).contains(percent))
            .map(MinFree::Percent)
            .ok_or_else(|| format!("`{text}` must be from 0% to below 100%"))
    })
}
