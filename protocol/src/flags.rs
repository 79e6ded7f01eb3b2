//! Small sets of named things in one byte.

/// Makes a set out of up to eight named members: a bit each in the encoding, a list of names in
/// JSON. A byte with a bit that names nothing does not decode.
macro_rules! flag_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $bit:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, $crate::codec::Encode, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "Vec<String>", into = "Vec<String>")]
        pub struct $name(u8);

        impl $name {
            /// The empty set.
            pub const NONE: Self = Self(0);
            $($(#[$member_doc])* pub const $member: Self = Self(1 << $bit);)+
            /// Every member.
            pub const ALL: Self = Self($(1 << $bit)|+);

            /// Members of either set.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether all of `other` are members of this.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether there is no member.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            fn names(self) -> Vec<&'static str> {
                [$((Self::$member, $text)),+]
                    .into_iter()
                    .filter(|(member, _)| self.contains(*member))
                    .map(|(_, name)| name)
                    .collect()
            }
        }

        impl<C> $crate::codec::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                let bits = <u8 as $crate::codec::Decode<C>>::decode(decoder)?;
                if bits & !Self::ALL.0 != 0 {
                    return Err($crate::codec::unknown_tag(stringify!($name), bits));
                }
                Ok(Self(bits))
            }
        }

        bincode::impl_borrow_decode!($name);

        impl std::str::FromStr for $name {
            type Err = $crate::flags::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$member),)+
                    _ => Err($crate::flags::UnknownName { name: text.to_owned(), known: Self::ALL.to_string() }),
                }
            }
        }

        impl TryFrom<Vec<String>> for $name {
            type Error = $crate::flags::UnknownName;

            fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
                names.iter().try_fold(Self::NONE, |set, name| Ok(set.with(name.parse()?)))
            }
        }

        impl From<$name> for Vec<String> {
            fn from(set: $name) -> Self {
                set.names().into_iter().map(str::to_owned).collect()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                if self.is_empty() { f.write_str("none") } else { f.write_str(&self.names().join(", ")) }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

pub(crate) use flag_set;

/// A name that no member of the set has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is unknown here: use {known}")]
pub struct UnknownName {
    /// What was given.
    pub name: String,
    /// What there is.
    pub known: String,
}
