//! What a list of kinds becomes: the events with their fields, and what is said of each kind.

/// How much an event matters: the severities of syslog (RFC 5424 6.2.1) that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// An error: something that should be there is not.
    Error = 3,
    /// Something to look at.
    Warning = 4,
    /// Normal, but significant.
    Notice = 5,
    /// For the record.
    Info = 6,
}

/// What is said of the fields of `by(uid, login_uid, sudo_user)`: who asked for it.
macro_rules! by {
    (uid) => {
        " The user who asked; null where the station itself or a signal did."
    };
    (login) => {
        " The user who logged in; null where that is not known."
    };
    (sudo) => {
        " The user who called sudo; null where nobody did."
    };
}

macro_rules! events {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal, $severity:ident, $id:literal
        { $($(#[doc = $meaning:literal])+ $field:ident: $type:ty,)* }
        $(by($uid:ident, $login:ident, $sudo:ident))?)+) => {
        /// Something that happened. Times are milliseconds since 1970, the wall clock's.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum Event {
            $($(#[doc = $help])+ #[serde(rename = $name)]
            $variant {
                $($(#[doc = $meaning])+ $field: $type,)*
                $(
                    #[doc = by!(uid)]
                    $uid: Option<u32>,
                    #[doc = by!(login)]
                    $login: Option<u32>,
                    #[doc = by!(sudo)]
                    $sudo: Option<String>,
                )?
            },)+
        }

        /// What kind of event it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[doc = $help])+ $variant,)+ }

        impl Event {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Event::$variant { .. } => Kind::$variant,)+ }
            }
        }

        impl Kind {
            /// All kinds, in the order of the manual.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)+];

            /// The name: `kind` in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)+ }
            }

            /// What happened.
            pub const fn help(self) -> &'static str {
                match self { $(Kind::$variant => concat!($($help),+),)+ }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Kind::$variant => Severity::$severity,)+ }
            }

            /// The journal's `MESSAGE_ID`: 128 bits as 32 hexadecimal digits.
            pub const fn message_id(self) -> &'static str {
                match self { $(Kind::$variant => $id,)+ }
            }

            /// The fields, and what each means.
            pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
                match self {
                    $(Kind::$variant => &[
                        $((stringify!($field), concat!($($meaning),+)),)*
                        $(
                            (stringify!($uid), by!(uid)),
                            (stringify!($login), by!(login)),
                            (stringify!($sudo), by!(sudo)),
                        )?
                    ],)+
                }
            }
        }
    };
}
