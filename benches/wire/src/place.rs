//! Where an interface is: its name, and the network namespace if it is another than ours.

use std::fs::File;
use std::str::FromStr;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Error;

/// `INTERFACE`, or `NAMESPACE:INTERFACE` with a namespace of `ip netns`.
#[derive(Clone, Debug)]
pub struct Place {
    pub namespace: Option<String>,
    pub interface: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (namespace, interface) = match text.split_once(':') {
            Some((namespace, interface)) => (Some(namespace.to_owned()), interface),
            None => (None, text),
        };
        if interface.is_empty()
            || namespace.as_ref().is_some_and(|name| name.is_empty() || name.contains('/'))
        {
            return Err("write INTERFACE or NAMESPACE:INTERFACE".into());
        }
        Ok(Place { namespace, interface: interface.to_owned() })
    }
}

impl Place {
    /// Moves this thread into the namespace and returns the interface's index there.
    pub fn enter(&self) -> Result<u32, Error> {
        if let Some(name) = &self.namespace {
            let path = format!("/run/netns/{name}");
            let system =
                |error: std::io::Error| Error::System(format!("the namespace {path}"), error);
            let file = File::open(&path).map_err(system)?;
            use std::os::fd::AsFd;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| system(error.into()))?;
        }
        let name = std::ffi::CString::new(self.interface.as_str())
            .map_err(|_| Error::Usage("a zero octet in an interface's name".into()))?;
        // SAFETY: a string that ends with zero.
        match unsafe { libc::if_nametoindex(name.as_ptr()) } {
            0 => Err(Error::System(self.interface.clone(), std::io::Error::last_os_error())),
            index => Ok(index),
        }
    }
}
