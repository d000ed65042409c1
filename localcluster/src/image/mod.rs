//! Container images without a container engine: a [`Recipe`] says what is in an image, and [`Recipe::write`] makes one file of it
//! that containerd, skopeo, podman and Docker load.
//!
//! The same recipe gives the same bytes on every machine: entries are sorted, times are zero, owners are those that the recipe says,
//! and the compressor leaves neither time nor name behind.
//!
//! ```no_run
//! # fn example() -> Result<(), localcluster::Error> {
//! use std::path::Path;
//! use localcluster::Cache;
//! use localcluster::image::{Content, Layer, Recipe};
//!
//! let program = Layer::new("the program").file("hello", Content::file("target/release/hello"), 0o755);
//! let image = Recipe::new("localhost/hello:1").layer(program).entrypoint(["/hello"]);
//! let written = image.write(&Cache::from_env(), Path::new("hello.tar"))?;
//! println!("{} {}", written.name, written.digest);
//! # Ok(()) }
//! ```

mod archive;
mod blob;
pub mod debian;
mod layer;
mod manifest;
mod recipe;
mod unpack;

pub use archive::Written;
pub use layer::{Content, Layer, Owner};
pub use recipe::{Compression, Recipe};
pub use unpack::Archive;
