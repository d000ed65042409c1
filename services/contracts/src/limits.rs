//! How long texts and lists may be. The schemas say so too.

/// Characters of a task's title.
pub const TITLE: usize = 500;
/// Characters of a task's description.
pub const DESCRIPTION: usize = 20_000;
/// Characters of the name of a list, a tag or a person.
pub const NAME: usize = 120;
/// Characters of a colour or an icon.
pub const COLOR: usize = 32;
/// Characters of a position in a list.
pub const ORDER: usize = 250;
/// Tags of one task.
pub const TAGS: usize = 50;
/// Reminders of one task.
pub const REMINDERS: usize = 20;
/// Characters of a recurrence rule.
pub const RULE: usize = 500;
/// Tags of one workspace.
pub const TAGS_OF_A_WORKSPACE: usize = 1_000;
