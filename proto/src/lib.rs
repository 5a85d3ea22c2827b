//! The wire of hfetch and nothing else: generated messages and services, the stable reasons of errors, the rule for the
//! default socket path. Both ends depend on it; it knows neither.

pub mod codec;
pub mod reason;
pub mod socket;

/// Package `hfetch.v1` as generated from `proto/hfetch/v1/*.proto`, where it is documented.
#[expect(
    missing_docs,
    clippy::all,
    reason = "generated code; the .proto files carry the documentation"
)]
#[cfg_attr(feature = "client", expect(clippy::missing_errors_doc, reason = "generated code"))]
#[cfg_attr(feature = "server", expect(clippy::allow_attributes, reason = "generated code"))]
#[cfg_attr(
    any(feature = "client", feature = "server"),
    expect(clippy::allow_attributes_without_reason, reason = "generated code")
)]
pub mod v1 {
    tonic::include_proto!("hfetch.v1");
}

/// The compiled descriptors of all files of the package, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hfetch.bin"));
