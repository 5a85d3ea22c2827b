//! Every key there is: what its value looks like, and whether a reload is enough.

/// What a value must look like before its meaning is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A text.
    Text,
    /// A text such as `20GiB`, or a bare number.
    Quantity,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Flag,
    /// A list of texts; commas separate them in a variable.
    List,
    /// A list of texts that hold commas: a variable has one, or a list in TOML.
    ListWithCommas,
    /// A text, or a list of texts.
    TextOrList,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Dotted. `NAME` stands for any name; `endpoints` and `proxies` are lists of tables.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// What a reload cannot change.
    pub(super) restart: bool,
}

const fn live(name: &'static str, shape: Shape) -> Key {
    Key {
        name,
        shape,
        restart: false,
    }
}

const fn at_start(name: &'static str, shape: Shape) -> Key {
    Key {
        restart: true,
        ..live(name, shape)
    }
}

/// In the order of printing.
pub(super) const KEYS: [Key; 52] = [
    live("storage.cache", Shape::TextOrList),
    live("storage.local_roots", Shape::List),
    live("storage.min_free", Shape::Quantity),
    live("storage.keep_partials", Shape::Text),
    live("storage.page_cache", Shape::Text),
    live("transfer.connections", Shape::Integer),
    live("transfer.max_workers", Shape::Integer),
    live("transfer.max_active_jobs", Shape::Integer),
    at_start("transfer.max_connections", Shape::Integer),
    live("transfer.give_up_after", Shape::Text),
    at_start("transfer.stall_timeout", Shape::Text),
    at_start("control.operator_group", Shape::Text),
    at_start("control.listen", Shape::Text),
    live("control.tls_cert", Shape::Text),
    live("control.tls_key", Shape::Text),
    live("control.token_file", Shape::Text),
    live("control.client_ca", Shape::Text),
    live("control.operators", Shape::List),
    live("bandwidth.limit", Shape::Quantity),
    live("bandwidth.timezone", Shape::Text),
    live("bandwidth.yield", Shape::Flag),
    live("windows.NAME.periods", Shape::List),
    live("windows.NAME.limit", Shape::Quantity),
    live("endpoints.name", Shape::Text),
    live("endpoints.url", Shape::Text),
    live("endpoints.token", Shape::Text),
    live("endpoints.limit", Shape::Quantity),
    live("endpoints.max_connections", Shape::Integer),
    live("endpoints.budget", Shape::Text),
    live("endpoints.bytes", Shape::Text),
    live("proxies.name", Shape::Text),
    live("proxies.url", Shape::Text),
    live("proxies.password_file", Shape::Text),
    live("routing.rules", Shape::ListWithCommas),
    live("routing.clash_config", Shape::Text),
    live("routing.via", Shape::Text),
    live("routing.allow_networks", Shape::List),
    live("aliases.NAME", Shape::Text),
    live("users.NAME.max_queued", Shape::Integer),
    live("users.NAME.weight", Shape::Integer),
    live("users.NAME.budget", Shape::Text),
    live("users.NAME.max_connections", Shape::Quantity),
    live("users.NAME.max_active", Shape::Quantity),
    live("users.NAME.max_disk", Shape::Quantity),
    live("jobs.keep", Shape::Text),
    live("jobs.keep_count", Shape::Integer),
    live("jobs.keep_files", Shape::Text),
    live("events.keep", Shape::Text),
    live("events.keep_count", Shape::Integer),
    at_start("log.filter", Shape::Text),
    at_start("log.format", Shape::Text),
    at_start("metrics.listen", Shape::Text),
];

/// All keys, dotted; `NAME` stands for any name.
pub fn known_keys() -> Vec<&'static str> {
    KEYS.iter().map(|key| key.name).collect()
}

/// The entry of a key.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
