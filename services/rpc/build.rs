//! Makes clients and servers of the interfaces in `proto/`. Their compiler is a crate, so no `protoc` is needed.

use std::error::Error;

const INTERFACES: [&str; 3] = [
    "todo/identity/v1/identity.proto",
    "todo/tasks/v1/tasks.proto",
    "todo/views/v1/views.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(INTERFACES, ["proto"])?;
    tonic_prost_build::configure()
        // Whole messages of JSON go through without a copy.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
