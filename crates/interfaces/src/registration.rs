//! Registration ids: the agent's name for one act of enrolling (contract §3). It makes one, keeps it until it is
//! enrolled, and repeats it, so that a repeated registration spends no further use of a join token.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of one registration. What this agent makes is a UUID of version 7 (RFC 9562); what is accepted is what
/// version 1 always accepted, 1 to 128 characters without control characters, since other clients may name theirs
/// otherwise. Two ids are the same when their characters are: no case folding, no trimming.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistrationId(String);

/// Why a text is no registration id. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationIdError {
    /// The empty text.
    #[error("a registration id must not be empty: it has 1 to {most} characters", most = RegistrationId::MAX_LEN)]
    Empty,
    /// More than [`RegistrationId::MAX_LEN`] characters.
    #[error("a registration id has 1 to {most} characters, this has {0}", most = RegistrationId::MAX_LEN)]
    TooLong(usize),
    /// A control character, which would forge lines in tables and logs.
    #[error("a registration id has no control characters")]
    ControlCharacter,
}

impl RegistrationId {
    /// The longest one accepted, characters.
    pub const MAX_LEN: usize = 128;

    /// Makes a new one, a UUID of version 7, from the time in milliseconds since 1970 and 16 bytes from a
    /// cryptographic source. The clock only makes ids sort well and may lie (before 1970 counts as 1970); the bytes
    /// alone make them unique.
    pub fn new(unix_millis: i64, random: [u8; 16]) -> Self {
        let [.., a, b, c, d, e, f] = u64::try_from(unix_millis).unwrap_or(0).to_be_bytes();
        let mut bytes = random;
        bytes[..6].copy_from_slice(&[a, b, c, d, e, f]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 0x0f] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        Self(text)
    }

    /// Reads one as it came over the wire.
    ///
    /// # Errors
    /// Says what is wrong with it and what would be right, without repeating it.
    pub fn parse(text: impl Into<String>) -> Result<Self, RegistrationIdError> {
        let text = text.into();
        match text.chars().count() {
            0 => Err(RegistrationIdError::Empty),
            length if length > Self::MAX_LEN => Err(RegistrationIdError::TooLong(length)),
            _ if text.chars().any(char::is_control) => Err(RegistrationIdError::ControlCharacter),
            _ => Ok(Self(text)),
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RegistrationIdError {
    /// The code for the problem that answers it.
    pub const fn code(self) -> crate::codes::FieldCode {
        match self {
            Self::Empty => crate::codes::FieldCode::Empty,
            Self::TooLong(_) => crate::codes::FieldCode::TooLong,
            Self::ControlCharacter => crate::codes::FieldCode::ControlCharacter,
        }
    }
}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RegistrationId {
    type Error = RegistrationIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text)
    }
}

impl From<RegistrationId> for String {
    fn from(id: RegistrationId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn a_new_id_is_a_uuid_of_version_7_with_the_time_in_front() {
        let at: Timestamp = "2026-11-22T22:41:07Z".parse().unwrap();
        let id = RegistrationId::new(at.as_millisecond(), [0xff; 16]);
        assert_eq!(id.as_str(), "01a2056b-97b8-7fff-bfff-ffffffffffff");
        assert_eq!(id.to_string(), id.as_str());
        let early = RegistrationId::new(-1, [1; 16]);
        assert_eq!(early.as_str(), "00000000-0000-7101-8101-010101010101");
    }

    #[test]
    fn what_version_1_accepted_is_accepted() {
        for text in ["reg-1", "r", "0192f6d0-2c3e-7b61-9d55-0d8c4e8f1a20", "ä b"] {
            assert_eq!(RegistrationId::parse(text).unwrap().as_str(), text);
        }
        assert!(RegistrationId::parse("ä".repeat(128)).is_ok());
    }

    #[test]
    fn what_version_1_refused_is_refused_with_the_reason() {
        let refused = |text: &str| RegistrationId::parse(text).unwrap_err();
        assert_eq!(refused(""), RegistrationIdError::Empty);
        assert_eq!(refused(&"x".repeat(129)), RegistrationIdError::TooLong(129));
        assert_eq!(refused("a\nb"), RegistrationIdError::ControlCharacter);
        assert_eq!(refused("a\nb").code(), "controlCharacter");
    }

    proptest! {
        #[test]
        fn new_ids_differ_by_their_random_bytes_and_read_back(millis: i64, random: [u8; 16], other: [u8; 16]) {
            let id = RegistrationId::new(millis, random);
            prop_assert_eq!(&RegistrationId::parse(id.as_str()).unwrap(), &id);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(&serde_json::from_str::<RegistrationId>(&json).unwrap(), &id);
            let unique = |bytes: [u8; 16]| (bytes[6] & 0x0f, bytes[7], bytes[8] & 0x3f, [bytes[9], bytes[10], bytes[15]]);
            if unique(random) != unique(other) {
                prop_assert_ne!(RegistrationId::new(millis, other), id);
            }
        }
    }
}
