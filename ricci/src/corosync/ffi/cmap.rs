//! Corosync's own key–value store: its configuration (`totem.cluster_name`, `nodelist.node.0.nodeid`) and its
//! statistics (`stats.knet.node2.link0.connected`).

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;

use super::{CallError, check, raw};

/// Which of corosync's two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::corosync) enum Map {
    /// Configuration and runtime state.
    Conf,
    /// Statistics, read-only, made when asked for.
    Stats,
}

/// A value with the type it has in the store; setting a key with another type than it has replaces it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// The number, if this is one that is not negative and has no fraction by type.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::I8(number) => u64::try_from(*number).ok(),
            Self::U8(number) => Some((*number).into()),
            Self::I16(number) => u64::try_from(*number).ok(),
            Self::U16(number) => Some((*number).into()),
            Self::I32(number) => u64::try_from(*number).ok(),
            Self::U32(number) => Some((*number).into()),
            Self::I64(number) => u64::try_from(*number).ok(),
            Self::U64(number) => Some(*number),
            Self::F32(_) | Self::F64(_) | Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    /// `cmap_value_types_t` and the bytes as the C side keeps them.
    fn encode(&self) -> (c_int, Vec<u8>) {
        match self {
            Self::I8(number) => (1, number.to_ne_bytes().to_vec()),
            Self::U8(number) => (2, number.to_ne_bytes().to_vec()),
            Self::I16(number) => (3, number.to_ne_bytes().to_vec()),
            Self::U16(number) => (4, number.to_ne_bytes().to_vec()),
            Self::I32(number) => (5, number.to_ne_bytes().to_vec()),
            Self::U32(number) => (6, number.to_ne_bytes().to_vec()),
            Self::I64(number) => (7, number.to_ne_bytes().to_vec()),
            Self::U64(number) => (8, number.to_ne_bytes().to_vec()),
            Self::F32(number) => (9, number.to_ne_bytes().to_vec()),
            Self::F64(number) => (10, number.to_ne_bytes().to_vec()),
            Self::Text(text) => (11, text.as_bytes().to_vec()),
            Self::Bytes(bytes) => (12, bytes.clone()),
        }
    }

    /// `None` for a type this release does not know, or a length that does not fit the type.
    fn decode(kind: c_int, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            1 => Self::I8(i8::from_ne_bytes(bytes.try_into().ok()?)),
            2 => Self::U8(u8::from_ne_bytes(bytes.try_into().ok()?)),
            3 => Self::I16(i16::from_ne_bytes(bytes.try_into().ok()?)),
            4 => Self::U16(u16::from_ne_bytes(bytes.try_into().ok()?)),
            5 => Self::I32(i32::from_ne_bytes(bytes.try_into().ok()?)),
            6 => Self::U32(u32::from_ne_bytes(bytes.try_into().ok()?)),
            7 => Self::I64(i64::from_ne_bytes(bytes.try_into().ok()?)),
            8 => Self::U64(u64::from_ne_bytes(bytes.try_into().ok()?)),
            9 => Self::F32(f32::from_ne_bytes(bytes.try_into().ok()?)),
            10 => Self::F64(f64::from_ne_bytes(bytes.try_into().ok()?)),
            // The stored text carries its terminating zero.
            11 => Self::Text(String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned()),
            12 => Self::Bytes(bytes.to_vec()),
            _ => return None,
        })
    }
}

/// One connection to corosync's cmap service.
pub(in crate::corosync) struct Cmap {
    handle: u64,
    not_send: PhantomData<*const ()>,
}

impl Cmap {
    pub(in crate::corosync) fn open(map: Map) -> Result<Self, CallError> {
        let map = match map {
            Map::Conf => raw::CMAP_MAP_ICMAP,
            Map::Stats => raw::CMAP_MAP_STATS,
        };
        let mut handle = 0;
        // SAFETY: the target is valid.
        check("cmap_initialize_map", unsafe { raw::cmap_initialize_map(&raw mut handle, map) })?;
        Ok(Self { handle, not_send: PhantomData })
    }

    /// `Ok(None)` if there is no such key, or its type is unknown to this release.
    pub(in crate::corosync) fn value(&self, key: &str) -> Result<Option<Value>, CallError> {
        let key = CString::new(key).map_err(|_| CallError::invalid("cmap_get"))?;
        let (mut len, mut kind) = (0, 0);
        // SAFETY: a null value asks for length and type only; the other pointers are valid.
        let code =
            unsafe { raw::cmap_get(self.handle, key.as_ptr(), std::ptr::null_mut(), &raw mut len, &raw mut kind) };
        match check("cmap_get", code) {
            Err(error) if error.is_absent() => return Ok(None),
            other => other?,
        }
        let mut bytes = vec![0_u8; len];
        // SAFETY: the buffer has `len` bytes and the library is told so; a value that grew in between is refused
        // with "invalid parameter" instead of being written past the end.
        let code =
            unsafe { raw::cmap_get(self.handle, key.as_ptr(), bytes.as_mut_ptr().cast(), &raw mut len, &raw mut kind) };
        check("cmap_get", code)?;
        bytes.truncate(len);
        Ok(Value::decode(kind, &bytes))
    }

    pub(in crate::corosync) fn set(&self, key: &str, value: &Value) -> Result<(), CallError> {
        let key = CString::new(key).map_err(|_| CallError::invalid("cmap_set"))?;
        let (kind, bytes) = value.encode();
        // SAFETY: key and value are valid for the call, which copies them.
        let code = unsafe { raw::cmap_set(self.handle, key.as_ptr(), bytes.as_ptr().cast(), bytes.len(), kind) };
        check("cmap_set", code)
    }

    /// All keys that begin with `prefix`, in corosync's order.
    pub(in crate::corosync) fn keys(&self, prefix: &str) -> Result<Vec<String>, CallError> {
        let prefix = CString::new(prefix).map_err(|_| CallError::invalid("cmap_iter_init"))?;
        let mut iter = 0;
        // SAFETY: the pointers are valid for the call.
        let code = unsafe { raw::cmap_iter_init(self.handle, prefix.as_ptr(), &raw mut iter) };
        check("cmap_iter_init", code)?;
        let mut keys = Vec::new();
        let result = loop {
            let mut name: [c_char; raw::CMAP_KEYNAME_MAXLEN + 1] = [0; raw::CMAP_KEYNAME_MAXLEN + 1];
            let (mut len, mut kind) = (0, 0);
            // SAFETY: the buffer holds the longest key and its terminating zero, as the header asks.
            let code =
                unsafe { raw::cmap_iter_next(self.handle, iter, name.as_mut_ptr(), &raw mut len, &raw mut kind) };
            match check("cmap_iter_next", code) {
                Ok(()) => {
                    // SAFETY: the library always writes a terminating zero, and the last byte was zero before.
                    let key = unsafe { CStr::from_ptr(name.as_ptr()) };
                    keys.push(key.to_string_lossy().into_owned());
                }
                Err(error) if error.code == raw::CS_ERR_NO_SECTIONS => break Ok(keys),
                Err(error) => break Err(error),
            }
        };
        // SAFETY: the iterator is open and finalised exactly once.
        unsafe { raw::cmap_iter_finalize(self.handle, iter) };
        result
    }
}

impl Drop for Cmap {
    fn drop(&mut self) {
        // SAFETY: finalised exactly once.
        unsafe { raw::cmap_finalize(self.handle) };
    }
}
