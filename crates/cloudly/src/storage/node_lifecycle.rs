//! Whether a node may speak.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Active,
    Suspended,
    Removed,
    /// Its join-token use was given back before its first heartbeat.
    Abandoned,
}

impl Lifecycle {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
            Self::Abandoned => "abandoned",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "suspended" => Self::Suspended,
            "abandoned" => Self::Abandoned,
            // A value that only a newer Cloudly knows: take the one that permits least.
            _ => Self::Removed,
        }
    }
}
