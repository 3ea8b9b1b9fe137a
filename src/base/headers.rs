//! Header fields as they were received: one text, and where in it each name and value ends.
//!
//! Knows nothing of HTTP but that names are compared in lower case. A head of any number of fields costs two allocations and one copy.

/// Names in lower case, values as received, in the order received; a name may stand more than once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Name, value, name, value, …
    text: Vec<u8>,
    fields: Vec<Ends>,
}

/// Where a field's name and value end. Each begins where the one before ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: u32,
    value: u32,
}

impl Headers {
    /// Room for `fields` whose names and values have `bytes` bytes together.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            fields: Vec::with_capacity(fields),
        }
    }

    /// Adds a field, its name in lower case. Heads are far below 4 GiB: whoever reads them bounds them.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let from = self.text.len();
        self.text.extend_from_slice(name);
        self.text[from..].make_ascii_lowercase();
        let name = self.text.len() as u32;
        self.text.extend_from_slice(value);
        let value = self.text.len() as u32;
        self.fields.push(Ends { name, value });
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut from = 0;
        self.fields.iter().map(move |ends| {
            let (name, value) = (ends.name as usize, ends.value as usize);
            let field = (&self.text[from..name], &self.text[name..value]);
            from = value;
            field
        })
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let mut from = 0;
        for ends in &self.fields {
            let (end, value) = (ends.name as usize, ends.value as usize);
            if end - from == name.len() && self.text[from..end] == *name {
                return Some(&self.text[end..value]);
            }
            from = value;
        }
        None
    }

    /// The same; `None` where it is no UTF-8.
    #[must_use]
    pub fn text(&self, name: &[u8]) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Values may be credentials: none is shown.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.iter().map(|(name, _)| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        /// Most fields are shorter.
        const BYTES: usize = 64;
        let fields = fields.into_iter();
        let count = fields.size_hint().0;
        let mut all = Self::with_capacity(count, count * BYTES);
        for (name, value) in fields {
            all.push(name.as_ref(), value.as_ref());
        }
        all
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> From<[(N, V); COUNT]> for Headers {
    fn from(fields: [(N, V); COUNT]) -> Self {
        fields.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_pushed_with_names_in_lower_case() {
        let all = Headers::from([("Host", "a.test"), ("x-a", ""), ("HOST", "B"), ("", "v")]);
        let told: Vec<(&[u8], &[u8])> = all.iter().collect();
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"host", b"a.test"),
            (b"x-a", b""),
            (b"host", b"B"),
            (b"", b"v"),
        ];
        assert_eq!(told, wanted);
        assert_eq!(all.get(b"host"), Some(&b"a.test"[..]));
        assert_eq!((all.text(b"x-a"), all.text(b"x-b")), (Some(""), None));
        assert_eq!(Headers::from([("a", [0xff])]).text(b"a"), None);
        assert!(!all.is_empty() && Headers::default().is_empty());
    }

    #[test]
    fn values_are_not_shown() {
        let shown = format!("{:?}", Headers::from([("authorization", "Bearer sk-1")]));
        assert_eq!(shown, r#"["authorization"]"#);
    }
}
