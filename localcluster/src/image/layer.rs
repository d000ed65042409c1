//! One layer: files by path, written as a tar file whose bytes depend on nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::{Builder, EntryType, Header};

use crate::error::{Error, Result};

/// What a file of a layer holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// What this file holds when the image is written.
    File(PathBuf),
    /// A part of a file, such as an entry of a tar file: nothing needs to be unpacked.
    Part {
        /// The file.
        path: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// How many bytes it has.
        length: u64,
    },
}

impl Content {
    /// These bytes.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Arc::from(bytes.as_ref()))
    }

    /// What this file holds when the image is written.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// Appends all of it to `bytes`: for small ones.
    pub(super) fn read_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let (left, reader) = self.open()?;
        let path = match self {
            Self::Bytes(_) => Path::new("bytes"),
            Self::File(path) | Self::Part { path, .. } => path,
        };
        Exactly { reader, left }
            .read_to_end(bytes)
            .map(drop)
            .map_err(Error::io("read", path))
    }

    /// Its length and a reader.
    fn open(&self) -> Result<(u64, Box<dyn Read + '_>)> {
        match self {
            Self::Bytes(bytes) => Ok((bytes.len() as u64, Box::new(&bytes[..]))),
            Self::File(path) => {
                let file = File::open(path).map_err(Error::io("open", path))?;
                let length = file.metadata().map_err(Error::io("read", path))?.len();
                Ok((length, Box::new(file)))
            }
            Self::Part {
                path,
                offset,
                length,
            } => {
                let mut file = File::open(path).map_err(Error::io("open", path))?;
                file.seek(SeekFrom::Start(*offset))
                    .map_err(Error::io("read", path))?;
                Ok((*length, Box::new(file)))
            }
        }
    }
}

/// User and group by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u64,
    /// The group.
    pub gid: u64,
}

impl Owner {
    /// root:root, to whom everything belongs that no one needs to change.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
    /// The user that images run as unless they say otherwise. 65532 is what distroless and Wolfi images have.
    pub const NONROOT: Self = Self {
        uid: 65532,
        gid: 65532,
    };
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Directory,
    File(Content),
    Symlink(String),
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: Owner,
}

/// Files, directories and symbolic links by their path in the image. What is added at a path that is taken replaces what was there.
///
/// A directory that is not named is not written: the base's keeps its mode, and where there is none it is made with mode 0755.
#[derive(Debug, Clone)]
pub struct Layer {
    title: String,
    nodes: BTreeMap<String, Node>,
}

impl Layer {
    /// An empty layer; the title stands in the image's history.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            nodes: BTreeMap::new(),
        }
    }

    /// What stands in the image's history.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// A file of root's.
    #[must_use]
    pub fn file(self, path: &str, content: Content, mode: u32) -> Self {
        self.file_of(path, content, mode, Owner::ROOT)
    }

    /// A file.
    #[must_use]
    pub fn file_of(self, path: &str, content: Content, mode: u32, owner: Owner) -> Self {
        self.with(path, Kind::File(content), mode, owner)
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32, owner: Owner) -> Self {
        self.with(path, Kind::Directory, mode, owner)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.with(path, Kind::Symlink(target.to_owned()), 0o777, Owner::ROOT)
    }

    /// Everything below a directory of this machine. What differs between machines is not taken along: times, owners, and of the modes all but
    /// whether the owner may execute a file.
    ///
    /// # Errors
    /// If it cannot be read, or holds something other than files, directories and symbolic links.
    pub fn tree(mut self, path: &str, from: &Path, owner: Owner) -> Result<Self> {
        let list = fs::read_dir(from).map_err(Error::io("read", from))?;
        for entry in list {
            let entry = entry.map_err(Error::io("read", from))?;
            let source = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| unfit(&source, format!("the name {name:?} is not UTF-8")))?;
            let inside = format!("{path}/{name}");
            let metadata = entry.metadata().map_err(Error::io("read", &source))?;
            self = if metadata.is_dir() {
                self.directory(&inside, 0o755, owner)
                    .tree(&inside, &source, owner)?
            } else if metadata.is_file() {
                let runs = metadata.permissions().mode() & 0o100 != 0;
                let mode = if runs { 0o755 } else { 0o644 };
                self.file_of(&inside, Content::File(source), mode, owner)
            } else if metadata.is_symlink() {
                let target = fs::read_link(&source).map_err(Error::io("read", &source))?;
                let target = target.to_str().ok_or_else(|| {
                    unfit(
                        &source,
                        "the target of this symbolic link is not UTF-8".to_owned(),
                    )
                })?;
                self.with(&inside, Kind::Symlink(target.to_owned()), 0o777, owner)
            } else {
                return Err(unfit(
                    &source,
                    "it is neither a file nor a directory nor a symbolic link".to_owned(),
                ));
            };
        }
        Ok(self)
    }

    pub(super) fn with(mut self, path: &str, kind: Kind, mode: u32, owner: Owner) -> Self {
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        self.nodes.insert(path, Node { kind, mode, owner });
        self
    }

    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Why this cannot be a layer, if it cannot.
    pub(super) fn problem(&self) -> Option<String> {
        if self.nodes.is_empty() {
            return Some(format!("the layer {:?} is empty", self.title));
        }
        self.nodes
            .keys()
            .find_map(|path| self.problem_of(path))
            .map(|problem| format!("the layer {:?}: {problem}", self.title))
    }

    fn problem_of(&self, path: &str) -> Option<String> {
        let odd = |part: &str| matches!(part, "" | "." | "..");
        if path.split('/').any(odd) || path.contains('\0') {
            return Some(format!(
                "{path:?} is no path in an image: name each directory once, without `.` and `..`"
            ));
        }
        // Names that begin so delete files of lower layers:
        // https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts
        if path.split('/').any(|part| part.starts_with(".wh.")) {
            return Some(format!("{path:?} would be taken for a whiteout"));
        }
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            if let Some(node) = self.nodes.get(parent)
                && !matches!(node.kind, Kind::Directory)
            {
                return Some(format!(
                    "{path:?} lies below {parent:?}, which is no directory"
                ));
            }
            above = parent;
        }
        None
    }

    /// Writes the tar file.
    pub(super) fn write(&self, out: impl Write) -> Result<()> {
        let mut tar = Builder::new(out);
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mode(node.mode & 0o7777);
            header.set_uid(node.owner.uid);
            header.set_gid(node.owner.gid);
            header.set_mtime(0);
            header.set_size(0);
            match &node.kind {
                Kind::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    tar.append_data(&mut header, format!("{path}/"), io::empty())
                        .map_err(Error::io("pack", path))?;
                }
                Kind::Symlink(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, target)
                        .map_err(Error::io("pack", path))?;
                }
                Kind::File(content) => {
                    let (length, reader) = content.open()?;
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(length);
                    let exactly = Exactly {
                        reader,
                        left: length,
                    };
                    tar.append_data(&mut header, path, exactly)
                        .map_err(Error::io("pack", path))?;
                }
            }
        }
        tar.finish()
            .and_then(|()| tar.get_mut().flush())
            .map_err(Error::io("write", &self.title))
    }
}

fn unfit(path: &Path, reason: String) -> Error {
    Error::Unfit {
        path: path.to_owned(),
        reason,
    }
}

/// A tar file whose entry is longer or shorter than its header says is broken from there on, and `tar` does not look.
struct Exactly<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(into.len(), |left| left.min(into.len()));
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut into[..most])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "it is {} bytes shorter than it was a moment ago: write the image when nothing changes its files",
                    self.left
                ),
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(layer: &Layer) -> String {
        layer.problem().unwrap_or_default()
    }

    #[test]
    fn paths_that_leave_the_image_or_hide_files_are_refused() {
        let layer = |path| Layer::new("x").file(path, Content::bytes(""), 0o644);
        assert_eq!(problem(&layer("/a/b")), "");
        assert!(problem(&layer("a/../b")).contains("`..`"));
        assert!(problem(&layer("a//b")).contains("no path"));
        assert!(problem(&layer("a/.wh.b")).contains("whiteout"));
        assert!(problem(&Layer::new("x")).contains("empty"));
    }

    #[test]
    fn nothing_lies_below_a_symbolic_link_of_the_same_layer() {
        let layer =
            Layer::new("x")
                .symlink("lib", "usr/lib")
                .file("lib/a/b", Content::bytes(""), 0o644);
        assert!(problem(&layer).contains("below \"lib\""));
    }

    #[test]
    fn a_file_that_shrinks_is_not_packed() {
        let mut short = Exactly {
            reader: &b"ab"[..],
            left: 3,
        };
        let error = io::copy(&mut short, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("1 bytes shorter"), "{error}");
        let mut long = Exactly {
            reader: &b"abcd"[..],
            left: 3,
        };
        assert_eq!(io::copy(&mut long, &mut io::sink()).unwrap(), 3);
    }
}
