//! `[bandwidth]`: the limit of all downloads together.

use jiff::tz::TimeZone;

use crate::config::{
    section::Reader,
    shape::{Checked, fault},
    timetable::parse_limit,
    tree::{Node, Table},
    values,
};
use crate::model::Limit;

/// `[bandwidth]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandwidthOptions {
    /// What holds when nobody says otherwise.
    pub limit: Limit,
    /// IANA name of the zone whose clock the timetable and the windows follow; `None` is the system's.
    pub timezone: Option<String>,
    /// Whether downloads slow down when others want the line.
    pub yields: bool,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<BandwidthOptions> {
    let mut section = reader.section(root, "bandwidth");
    let limit = section.read("limit", "off", |node| values::parsed(node, parse_limit));
    let timezone = section.read_optional("timezone", timezone);
    let yields = section.read("yield", false, values::flag);
    section.finish();
    Some(BandwidthOptions {
        limit: limit?,
        timezone: timezone?,
        yields: yields?,
    })
}

fn timezone(node: &Node) -> Checked<String> {
    let name = values::text(node)?;
    match TimeZone::get(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(fault(
            node,
            format!("`{name}` is no time zone; write an IANA name such as Asia/Shanghai"),
        )),
    }
}
