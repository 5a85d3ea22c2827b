//! Which endpoints a call means.

use super::error::CallError;
use crate::{
    config::{Config, EndpointOptions, Mode},
    hub::Endpoint,
};

/// The base address as it is stored and shown.
pub(super) fn base_text(endpoint: &Endpoint) -> String {
    endpoint.base().as_str().trim_end_matches('/').to_owned()
}

/// Whether the configuration lists this endpoint.
pub(super) fn is_configured(config: &Config, endpoint: &Endpoint) -> bool {
    as_configured(config, endpoint).is_some()
}

/// The same endpoint under the name that the configuration gives it.
fn as_configured(config: &Config, endpoint: &Endpoint) -> Option<Endpoint> {
    let known = config
        .endpoints
        .iter()
        .filter_map(|known| Endpoint::parse(&known.name, known.url.as_str()).ok());
    known.into_iter().find(|known| base_text(known) == base_text(endpoint))
}

/// The endpoints of a call: those that it names, else the configured ones, the caller's own HF_ENDPOINT before them; when that is
/// no configured one, it is meant alone.
pub(super) fn endpoints(
    config: &Config,
    mode: Mode,
    named: &[String],
    preferred: &str,
    warnings: &mut Vec<String>,
) -> Result<Vec<Endpoint>, CallError> {
    let find = |text: &str| -> Result<Endpoint, CallError> {
        let by_name = config.endpoints.iter().find(|known| known.name == text);
        let endpoint = match by_name {
            Some(known) => Endpoint::parse(&known.name, known.url.as_str()),
            None if text.contains("://") => Endpoint::parse("", text),
            None => {
                let known: Vec<&str> = config.endpoints.iter().map(|known| known.name.as_str()).collect();
                let known = known.join(", ");
                return Err(CallError::invalid(
                    "endpoints",
                    format!("no endpoint `{text}` is configured (there are: {known})"),
                ));
            }
        };
        let endpoint = endpoint.map_err(|error| CallError::invalid("endpoints", error))?;
        let endpoint = as_configured(config, &endpoint).unwrap_or(endpoint);
        if mode == Mode::System && !is_configured(config, &endpoint) {
            return Err(CallError::NotAllowed(format!(
                "{} is not among the configured endpoints; ask the administrator to add it",
                endpoint.host()
            )));
        }
        Ok(endpoint)
    };
    if !named.is_empty() {
        return named.iter().map(|text| find(text)).collect();
    }
    if !preferred.is_empty() {
        match find(preferred) {
            Ok(first) if is_configured(config, &first) => {
                let mut all = configured_ones(config)?;
                all.retain(|other| base_text(other) != base_text(&first));
                all.insert(0, first);
                return Ok(all);
            }
            Ok(alone) => return Ok(vec![alone]),
            Err(error) => warnings.push(format!("HF_ENDPOINT is ignored: {error}")),
        }
    }
    configured_ones(config)
}

fn configured_ones(config: &Config) -> Result<Vec<Endpoint>, CallError> {
    let parse = |known: &EndpointOptions| Endpoint::parse(&known.name, known.url.as_str());
    let all: Result<Vec<Endpoint>, _> = config.endpoints.iter().map(parse).collect();
    all.map_err(|error| CallError::Internal(error.to_string()))
}
