//! Documents as iCalendar (RFC 5545): a list is a `VCALENDAR`, a task a `VTODO`.

mod lines;
mod read;
mod values;
mod write;

pub use lines::CalendarError;
pub use read::{Note, Read, read};
pub use write::write;

/// The media type.
pub const MEDIA_TYPE: &str = "text/calendar; charset=utf-8";

mod names {
    //! Properties of ours, for what the standard has no place for.

    pub(super) const ORDER: &str = "X-TODO-ORDER";
    pub(super) const COLOR: &str = "X-TODO-COLOR";
    pub(super) const ANCHOR: &str = "X-TODO-ANCHOR";
    pub(super) const ARCHIVED: &str = "X-TODO-ARCHIVED";
    pub(super) const TRASHED: &str = "X-TODO-TRASHED";
    pub(super) const SERIES: &str = "X-TODO-SERIES";
    pub(super) const TAG: &str = "X-TODO-TAG";
}
