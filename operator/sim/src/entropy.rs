//! Chance that is the same in every run.
//!
//! The operator's libraries ask the process for randomness where no seed reaches them: hash maps for their keys, tokio
//! for the order in which `select!` looks at its branches. A thread that is [`without_chance`] gets the same answer each
//! time, so that a run depends on its seed alone. The way is that of madsim (`madsim/src/sim/rand.rs`): a function of
//! the C library is replaced, which no safe code can do.
#![allow(unsafe_code, reason = "replaces a function of the C library")]

use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::io::Read;

thread_local! {
    static CONSTANT: Cell<bool> = const { Cell::new(false) };
}

/// From now on, whoever asks in this thread for randomness gets the same. To be called before anybody asks.
pub fn without_chance() {
    CONSTANT.set(true);
}

/// `getrandom(2)`.
///
/// # Safety
/// As of the C library's: `buffer` is valid for writes of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    if buffer.is_null() {
        return -1;
    }
    // SAFETY: the caller gives `length` bytes to write to, and they are written to before they are read.
    let bytes = unsafe {
        buffer.cast::<u8>().write_bytes(0x5e, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    if !CONSTANT.get() {
        let filled =
            std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(bytes));
        if filled.is_err() {
            return -1;
        }
    }
    isize::try_from(length).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn hash_maps_of_threads_without_chance_have_the_same_keys() {
        let hash = |constant: bool| {
            let thread = std::thread::spawn(move || {
                if constant {
                    super::without_chance();
                }
                RandomState::new().hash_one("key")
            });
            thread.join().ok()
        };
        assert_eq!(hash(true), hash(true));
        assert_ne!(hash(false), hash(false));
    }
}
