//! The shared files of AWS's clients: sections of `name = value` (AWS SDKs and Tools Reference Guide, read 2026-11).
//!
//! Only reads; what a profile amounts to is `aws`.

use std::collections::BTreeMap;

/// Profiles by name, with what both files say of them.
#[derive(Debug, Default)]
pub struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

impl Profiles {
    /// What stands in `credentials` wins over what stands in `config`.
    pub fn parse(config: &str, credentials: &str) -> Self {
        let mut profiles = Self::default();
        profiles.read(config, |section| match section.strip_prefix("profile") {
            Some(name) if name.starts_with([' ', '\t']) => Some(name.trim().to_owned()),
            // `[services x]`, `[sso-session x]` and the like are no profiles.
            _ => (section == "default").then(|| section.to_owned()),
        });
        profiles.read(credentials, |section| Some(section.to_owned()));
        profiles
    }

    fn read(&mut self, text: &str, name: impl Fn(&str) -> Option<String>) {
        let mut current: Option<String> = None;
        for line in text.lines() {
            let plain = line.trim();
            if plain.starts_with(['#', ';']) || plain.is_empty() {
                continue;
            }
            if let Some(section) = plain.strip_prefix('[') {
                let section = section.split(']').next().unwrap_or_default();
                current = name(section.trim());
                if let Some(name) = &current {
                    self.0.entry(name.clone()).or_default();
                }
                continue;
            }
            // A line that is set in belongs to the setting above it (`s3 =` and its own settings), which none of ours has.
            if line.starts_with([' ', '\t']) {
                continue;
            }
            if let (Some(name), Some((key, value))) = (&current, plain.split_once('=')) {
                let section = self.0.entry(name.clone()).or_default();
                section.insert(key.trim().to_ascii_lowercase(), without_comment(value));
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<Profile<'_>> {
        self.0.get(name).map(Profile)
    }
}

/// A comment behind a value begins with a blank, so that `#` may stand within secrets.
fn without_comment(value: &str) -> String {
    let end = [" #", " ;", "\t#", "\t;"]
        .iter()
        .filter_map(|mark| value.find(mark))
        .min();
    value[..end.unwrap_or(value.len())].trim().to_owned()
}

/// One profile's settings.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'a>(&'a BTreeMap<String, String>);

impl<'a> Profile<'a> {
    /// Empty is as not there.
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_as_awss_clients_read_them() {
        let config = "# c\n[default]\nregion = eu-west-1 ; here\ns3 =\n  region = nested\n[profile dev]\nROLE_ARN=arn:r\naws_access_key_id = old\n[sso-session x]\nrole_arn = no\n";
        let credentials =
            "[dev]\naws_access_key_id = AK#1 # note\nempty =\n[profile odd]\na = b\nnonsense\n";
        let profiles = Profiles::parse(config, credentials);
        let get = |profile: &str, key: &str| Some(profiles.get(profile)?.get(key)?.to_owned());
        assert_eq!(get("default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(get("dev", "role_arn").as_deref(), Some("arn:r"));
        assert_eq!(get("dev", "aws_access_key_id").as_deref(), Some("AK#1"));
        assert_eq!(get("dev", "empty"), None);
        assert!(profiles.get("x").is_none());
        assert_eq!(get("profile odd", "a").as_deref(), Some("b"));
    }
}
