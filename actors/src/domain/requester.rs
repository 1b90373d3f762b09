//! On whose behalf something is asked.

/// The user who asks, as the edge has recognised them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The user's id.
    pub user_id: String,
    /// Whether the user is an admin, who may see and change what belongs to others.
    pub is_admin: bool,
}

impl Requester {
    /// Whether the requester may see and change what belongs to this user. What one may not see does
    /// not exist for them.
    pub fn may_see(&self, owner_id: &str) -> bool {
        self.is_admin || self.user_id == owner_id
    }
}
