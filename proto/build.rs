//! Compiles the .proto files with protox, a compiler in pure Rust: no protoc on the machine.
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let names = [
        "job",
        "event",
        "name",
        "admin",
        "route",
        "endpoint",
        "token",
        "doctor",
        "bandwidth",
        "cache",
        "usage",
        "schedule",
    ];
    let files = names.map(|name| format!("hfetch/v1/{name}.proto"));
    for file in &files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["."])?;
    std::fs::write(out.join("hfetch.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_server(std::env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_client(std::env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .codec_path("crate::codec::Codec")
        // hfctl and hfetchd choose their own transport (a Unix socket).
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
