//! The error numbers that a mount answers, each with its name.

use std::fmt;

macro_rules! errnos {
    ($($name:ident)*) => {
        /// An error number of SEMANTICS.md, printed by its name (`EINVAL`).
        #[allow(clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Errno {
            $(#[doc = concat!("`", stringify!($name), "` of errno(3).")] $name,)*
        }

        impl Errno {
            /// The name as errno(3) spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The number as the kernel knows it.
            #[must_use]
            pub fn raw(self) -> i32 {
                match self {
                    $(Self::$name => libc::$name,)*
                }
            }

            /// The number with that name, or none.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What an error of the operating system maps to; `EIO` for what has no name here.
            #[must_use]
            pub fn from_raw(raw: i32) -> Self {
                $(if raw == libc::$name { return Self::$name; })*
                Self::EIO
            }
        }
    };
}

errnos! {
    EACCES EAGAIN EBADF EBUSY EDQUOT EEXIST EFBIG EINTR EINVAL EIO EISDIR ELOOP EMFILE ENAMETOOLONG
    ENFILE ENODATA ENODEV ENOENT ENOLCK ENOMEM ENOSPC ENOSYS ENOTCONN ENOTDIR ENOTEMPTY EOPNOTSUPP EPERM ERANGE
    ENXIO EROFS ESTALE EXDEV
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<&std::io::Error> for Errno {
    fn from(error: &std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::EIO, Self::from_raw)
    }
}
