//! The admission policy that guards intents: no intent counts unless it is the expected one.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use todo_operator_core::intents;

/// Name of the policy and of its binding.
pub const NAME: &str = "todo-intents";

/// The live policy and binding; of each, whether it was looked for yet, and what was found.
#[derive(Debug, Default)]
pub struct PolicyWatch {
    seen: Mutex<(Option<Option<Value>>, Option<Option<Value>>)>,
}

impl PolicyWatch {
    /// Takes in the policy as it is; `None` where there is none.
    pub fn set_policy(&self, policy: Option<Value>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(policy);
    }

    /// Takes in the binding as it is; `None` where there is none.
    pub fn set_binding(&self, binding: Option<Value>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(binding);
    }

    /// Whether both were looked for: before that, absence means nothing.
    pub fn is_complete(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.is_some() && seen.1.is_some()
    }

    /// Whether intents can be trusted; why not.
    pub fn check(&self) -> Result<(), String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            (Some(Some(policy)), Some(Some(binding))) => intents::policy_matches(policy, binding),
            (None | Some(None), _) => Err(format!("ValidatingAdmissionPolicy {NAME} does not exist")),
            (_, None | Some(None)) => Err(format!(
                "ValidatingAdmissionPolicyBinding {NAME} does not exist"
            )),
        }
    }
}
