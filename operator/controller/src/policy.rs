//! The admission policy that guards intents: no intent counts unless it is the expected one.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use todo_operator_core::intents;

/// Name of the policy and of its binding.
pub const NAME: &str = "todo-intents";

/// The live policy and binding.
#[derive(Debug, Default)]
pub struct PolicyWatch {
    seen: Mutex<(Option<Value>, Option<Value>)>,
}

impl PolicyWatch {
    /// Takes in the policy as it is; `None` where there is none.
    pub fn set_policy(&self, policy: Option<Value>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0 = policy;
    }

    /// Takes in the binding as it is; `None` where there is none.
    pub fn set_binding(&self, binding: Option<Value>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = binding;
    }

    /// Whether intents can be trusted; why not.
    pub fn check(&self) -> Result<(), String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            (Some(policy), Some(binding)) => intents::policy_matches(policy, binding),
            (None, _) => Err(format!("ValidatingAdmissionPolicy {NAME} does not exist")),
            (_, None) => Err(format!(
                "ValidatingAdmissionPolicyBinding {NAME} does not exist"
            )),
        }
    }
}
