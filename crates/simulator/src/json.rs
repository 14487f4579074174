//! JSON whose members keep their order, as in the real Supervisor (a Node program).
//!
//! The recordings are compared member by member *in order*, which `serde_json::Value` cannot do without a
//! feature that would change the maps of every crate in the workspace.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;

/// A JSON value; objects are lists of members.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// # Errors
    /// When the text is not JSON.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Without spaces.
    pub fn to_text(&self) -> String {
        // serde_json cannot fail: there are only strings, numbers and string keys.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members()
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// A member further down.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// The members of an object; none for anything else.
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array; none for anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, also as a string, as JavaScript reads it.
    pub fn as_id(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            Self::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Equality as JavaScript's deep comparisons have it: the order of members does not count.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(a), Self::Object(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(name, value)| other.get(name).is_some_and(|other| value.is_same(other)))
            }
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            _ => self == other,
        }
    }

    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}
impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
impl<T: Into<Self>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}
impl FromIterator<(String, Self)> for Json {
    fn from_iter<I: IntoIterator<Item = (String, Self)>>(members: I) -> Self {
        Self::Object(members.into_iter().collect())
    }
}

/// Makes a [`Json`] object: `object! { "a" => 1u64, "b" => "x" }`.
macro_rules! object {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::json::Json::Object(vec![$(($name.to_string(), $crate::json::Json::from($value))),*])
    };
}
pub(crate) use object;

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Json>()? {
            match members.iter_mut().find(|(known, _)| *known == name) {
                Some((_, slot)) => *slot = value,
                None => members.push((name, value)),
            }
        }
        order_as_javascript(&mut members);
        Ok(Json::Object(members))
    }
}

/// JavaScript has integer keys first, ascending, then the others in the order of insertion. The Supervisor's "first
/// app" and "first service" depend on it.
pub(crate) fn order_as_javascript<T>(members: &mut [(String, T)]) {
    members.sort_by_key(|(name, _)| index_key(name).unwrap_or(u64::MAX));
}

fn index_key(name: &str) -> Option<u64> {
    let index: u32 = name.parse().ok()?;
    (index.to_string() == name).then_some(u64::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_but_integer_keys_come_first() {
        let json = Json::parse(br#"{"b":1,"10":2,"a":[null,true,1.5,-3,"x"],"9":{},"b":7}"#).unwrap();
        assert_eq!(
            json.to_text(),
            r#"{"9":{},"10":2,"b":7,"a":[null,true,1.5,-3,"x"]}"#
        );
    }
}
