//! The admission policy that guards intents: no intent counts unless it is the expected one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use todo_operator_core::intents;

/// Name of the policy and of its binding.
pub const NAME: &str = "todo-intents";

/// The live policy and binding.
#[derive(Debug, Default)]
pub struct PolicyWatch {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    policy: Found,
    binding: Found,
}

#[derive(Debug, Default)]
enum Found {
    /// Nobody looked yet: absence means nothing.
    #[default]
    Unknown,
    Absent,
    Object(Value),
}

impl From<Option<Value>> for Found {
    fn from(object: Option<Value>) -> Self {
        object.map_or(Self::Absent, Self::Object)
    }
}

impl PolicyWatch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the policy as it is; `None` where there is none.
    pub fn set_policy(&self, policy: Option<Value>) {
        self.seen().policy = policy.into();
    }

    /// Takes in the binding as it is; `None` where there is none.
    pub fn set_binding(&self, binding: Option<Value>) {
        self.seen().binding = binding.into();
    }

    /// Whether both were looked for: before that, absence means nothing.
    pub fn is_complete(&self) -> bool {
        let seen = self.seen();
        !matches!(
            (&seen.policy, &seen.binding),
            (Found::Unknown, _) | (_, Found::Unknown)
        )
    }

    /// Whether intents can be trusted; why not.
    pub fn check(&self) -> Result<(), String> {
        let seen = self.seen();
        match (&seen.policy, &seen.binding) {
            (Found::Object(policy), Found::Object(binding)) => {
                intents::policy_matches(policy, binding)
            }
            (Found::Object(_), _) => Err(format!(
                "ValidatingAdmissionPolicyBinding {NAME} does not exist"
            )),
            _ => Err(format!("ValidatingAdmissionPolicy {NAME} does not exist")),
        }
    }
}
