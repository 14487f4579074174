//! The macro behind the enums of this module, and what they share.

use serde::de::{Error, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A name that this version does not know. Only made by reading one, so a known name never hides in here and two
/// equal names are always equal values.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnknownName(Box<str>);

impl UnknownName {
    pub(super) fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// The name as it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Reads a name without copying it when it is a known one.
pub(super) struct NameVisitor<T>(pub(super) PhantomData<T>);

impl<T: for<'a> From<&'a str>> Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        Ok(T::from(name))
    }
}

/// Turns a table `Variant = "wireName"` into an enum that is its wire name everywhere outside this process:
/// `as_str`, `Display`, `FromStr`, `From<&str>`, serde, comparison with text, and order (by name, as reports are
/// sorted). `ALL` lists the names this version knows. The doc comment of a row is the meaning of the name.
///
/// The macro adds the variant `Unknown`; reading never fails.
macro_rules! wire_names {
    (
        $(#[$meta:meta])*
        pub enum $Name:ident {
            $( $(#[$meaning:meta])* $Variant:ident = $wire:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $Name {
            $( $(#[$meaning])* $Variant, )+
            /// A name that this version does not know, kept as it was read.
            Unknown($crate::codes::UnknownName),
        }

        impl $Name {
            /// Every name that this version knows, in the order of the table.
            pub const ALL: &'static [Self] = &[$( Self::$Variant ),+];

            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$Variant => $wire, )+
                    Self::Unknown(name) => name.as_str(),
                }
            }

            /// Whether this version knows the name.
            pub const fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }

            fn known(name: &str) -> Option<Self> {
                match name {
                    $( $wire => Some(Self::$Variant), )+
                    _ => None,
                }
            }
        }

        impl From<&str> for $Name {
            fn from(name: &str) -> Self {
                Self::known(name).unwrap_or_else(|| Self::Unknown($crate::codes::UnknownName::new(name)))
            }
        }

        impl From<String> for $Name {
            fn from(name: String) -> Self {
                Self::known(&name).unwrap_or_else(|| Self::Unknown($crate::codes::UnknownName::new(name)))
            }
        }

        impl std::str::FromStr for $Name {
            type Err = std::convert::Infallible;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Ok(Self::from(name))
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $Name {
            fn eq(&self, name: &str) -> bool {
                self.as_str() == name
            }
        }

        impl PartialEq<&str> for $Name {
            fn eq(&self, name: &&str) -> bool {
                self.as_str() == *name
            }
        }

        impl Ord for $Name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl PartialOrd for $Name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = $crate::codes::table::NameVisitor(std::marker::PhantomData);
                deserializer.deserialize_str(visitor)
            }
        }
    };
}

pub(super) use wire_names;
