//! How something is, and if it is not well, why.

/// How an object is.
#[derive(Clone, Debug, PartialEq)]
pub enum Health {
    /// As it should be, for its current generation.
    Ready,
    /// On its way.
    Progressing(Cause),
    /// It needs a person, or a rule, to go on (a paused canary, a suspended job).
    Paused(Cause),
    /// It cannot come right by waiting.
    Degraded(Cause),
}

impl Health {
    /// Whether it is [`Health::Ready`].
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Why it is not ready.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Ready => None,
            Self::Progressing(cause) | Self::Paused(cause) | Self::Degraded(cause) => Some(cause),
        }
    }

    /// [`Health::Progressing`] from its parts.
    pub(crate) fn progressing(reason: &str, message: impl Into<String>) -> Self {
        Self::Progressing(Cause::new(reason, message))
    }

    /// [`Health::Progressing`] because the status is about an older spec, or there is none yet.
    pub(crate) fn unobserved() -> Self {
        Self::progressing(
            "NotObserved",
            "its controller has not seen the current spec yet",
        )
    }
}

/// Why something is not ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// A CamelCase reason, from the documented list or the object's own.
    pub reason: Box<str>,
    /// A sentence for a person, quoting the object's own words.
    pub message: Box<str>,
}

impl Cause {
    /// A cause from its parts.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into().into_boxed_str(),
        }
    }
}
