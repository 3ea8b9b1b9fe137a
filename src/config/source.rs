//! Where a key's credential comes from: a secret that stands in the file, or a source that gives credentials which expire.
//!
//! Here a source is only described: what the environment says is taken down, files are looked at once so that a wrong one is told with its
//! place. Who asks token servers, and asks again before a credential expires, is the I/O core.

use crate::base::Secret;
use crate::config::problem::Problems;
use crate::config::raw;
use crate::config::read::At;
use crate::config::resolve::Resolving;
use crate::config::{secret, url};
use crate::protocol::provider::ProviderKind;
use crate::protocol::provider::google_auth::KeyFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Own machines that want none.
    None,
    Secret(Secret),
    Aws(Box<AwsSource>),
    Google(Box<GoogleSource>),
}

/// Credentials that sign: AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSource {
    pub from: AwsFrom,
    /// A role that is taken on with what `from` gives.
    pub role: Option<AwsRole>,
    /// Of the security token service.
    pub region: String,
    pub credentials_file: PathBuf,
    pub config_file: PathBuf,
    /// Variables of AWS's own that were set when the configuration was read; empty where `from` is not the chain.
    pub environment: BTreeMap<&'static str, Secret>,
    /// The security token service, where it is not AWS's own in that region.
    pub token_url: Option<String>,
    /// The instance metadata service.
    pub metadata_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsFrom {
    Static {
        access_key_id: Secret,
        secret_access_key: Secret,
        session_token: Option<Secret>,
    },
    /// A section of the shared files.
    Profile(String),
    /// Environment, shared files, web identity, container, instance: the first that there is.
    Chain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRole {
    pub arn: String,
    pub external_id: Option<String>,
    pub session_name: String,
}

/// Tokens of Google Cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleSource {
    pub from: GoogleFrom,
    /// As the key file names it.
    pub project: Option<String>,
    /// The token server, where it is not the one the key file names.
    pub token_url: Option<String>,
    pub metadata_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoogleFrom {
    /// Read again at each refresh, so that a key that is replaced on disk is the one in use.
    File(PathBuf),
    Inline(Secret),
    /// Of the machine we run on.
    Metadata,
    /// Application default credentials: the file, if there is one, else the metadata server.
    Default {
        well_known: Option<PathBuf>,
    },
}

impl KeySource {
    /// True for what must be fetched, and again before it expires.
    #[must_use]
    pub fn expires(&self) -> bool {
        matches!(self, Self::Aws(_) | Self::Google(_))
    }

    /// What may be shown of it.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Secret(_) => "secret",
            Self::Aws(aws) => match aws.from {
                AwsFrom::Static { .. } => "aws static",
                AwsFrom::Profile(_) => "aws profile",
                AwsFrom::Chain => "aws chain",
            },
            Self::Google(google) => match google.from {
                GoogleFrom::File(_) | GoogleFrom::Inline(_) => "google service account",
                GoogleFrom::Metadata => "google metadata",
                GoogleFrom::Default { .. } => "google default",
            },
        }
    }
}

/// What is written of a key, and for whom.
pub struct Wanted<'a> {
    pub raw: &'a raw::RawKey,
    pub name: &'a str,
    /// `None` where the kind itself was wrong.
    pub kind: Option<ProviderKind>,
    pub region: Option<&'a str>,
}

/// The source; `None` if it comes to nothing (with a note) or if there was a problem.
pub fn find(wanted: &Wanted<'_>, r: &mut Resolving<'_>) -> Option<KeySource> {
    let raw = wanted.raw;
    let written = [raw.has_secret, raw.aws.is_some(), raw.google.is_some()];
    if written.iter().filter(|w| **w).count() > 1 {
        let what = format!("key {:?} has more than one source", wanted.name);
        r.problems
            .add(raw.place, what, "one of secret, aws and google");
        return None;
    }
    let found = if let Some(aws) = &raw.aws {
        allowed(wanted, "aws", &[ProviderKind::Bedrock], aws.place, r)?;
        aws_source(aws, wanted.region, r)?
    } else if let Some(google) = &raw.google {
        allowed(wanted, "google", &GOOGLE, google.place, r)?;
        google_source(google, r)?
    } else if !raw.has_secret && wanted.kind.is_some_and(|kind| !needs_key(kind)) {
        return Some(KeySource::None);
    } else {
        plain(wanted, r)?
    };
    if found.is_none() {
        r.notes
            .push(format!("key {} has no secret: left out", wanted.name));
    }
    found
}

/// Own machines and fakes take calls without a credential.
pub fn needs_key(kind: ProviderKind) -> bool {
    !matches!(kind, ProviderKind::SelfHosted | ProviderKind::Fake)
}

/// Of these the APIs take a token of Google's as a bearer (Anthropic's by its host on Google Cloud).
const GOOGLE: [ProviderKind; 4] = [
    ProviderKind::Vertex,
    ProviderKind::Gemini,
    ProviderKind::Anthropic,
    ProviderKind::OpenAi,
];

fn allowed(
    wanted: &Wanted<'_>,
    field: &str,
    kinds: &[ProviderKind],
    place: crate::config::Place,
    r: &mut Resolving<'_>,
) -> Option<()> {
    let kind = wanted.kind?;
    if kinds.contains(&kind) {
        return Some(());
    }
    let what = format!("{field}: on a key of a provider of kind {}", kind.as_str());
    r.problems.add(place, what, "secret:");
    None
}

/// The outer `None` is a problem that was told, the inner one a source that is empty.
type Found = Option<Option<KeySource>>;

fn plain(wanted: &Wanted<'_>, r: &mut Resolving<'_>) -> Found {
    let Some(written) = &wanted.raw.secret else {
        let what = format!("key {:?} has no secret", wanted.name);
        let right = match wanted.kind {
            Some(ProviderKind::Bedrock) => "secret:, or aws: {} for AWS's own chain",
            Some(ProviderKind::Vertex) => "secret:, or google: {} for Google's own chain",
            _ => "\"${NAME:-}\", env:NAME, file:/path, credential:NAME or vault:NAME",
        };
        r.problems.add(wanted.raw.place, what, right);
        return None;
    };
    let before = r.problems.len();
    let secret = secret::find(written, r.outside, r.problems);
    if secret.is_none() && r.problems.len() > before {
        return None;
    }
    Some(secret.map(KeySource::Secret))
}

fn aws_source(raw: &raw::RawAws, region: Option<&str>, r: &mut Resolving<'_>) -> Found {
    let from = aws_from(raw, r)?;
    let role = aws_role(raw, r)?;
    let token_url = checked_url(raw.token_url.as_ref(), r.problems)?;
    let metadata_url = checked_url(raw.metadata_url.as_ref(), r.problems)?;
    let (Some(from), Some(role)) = (from, role) else {
        return Some(None);
    };
    let env = |name: &str| (r.outside.env)(name).filter(|v| !v.is_empty());
    let file = |written: &Option<At<String>>, variable: &str, usual: &str| {
        let written = written.as_ref().map(|w| w.value.clone());
        let path = written.or_else(|| env(variable)).map(PathBuf::from);
        path.unwrap_or_else(|| Path::new(&env("HOME").unwrap_or_default()).join(usual))
    };
    let own_region = raw.region.as_ref().map(|a| a.value.clone());
    let environment = match from {
        AwsFrom::Chain => VARIABLES
            .iter()
            .filter_map(|name| Some((*name, Secret::new(env(name)?))))
            .collect(),
        AwsFrom::Static { .. } | AwsFrom::Profile(_) => BTreeMap::new(),
    };
    Some(Some(KeySource::Aws(Box::new(AwsSource {
        from,
        role,
        region: own_region
            .or_else(|| region.map(str::to_owned))
            .unwrap_or_else(|| "us-east-1".to_owned()),
        credentials_file: file(
            &raw.credentials_file,
            "AWS_SHARED_CREDENTIALS_FILE",
            ".aws/credentials",
        ),
        config_file: file(&raw.config_file, "AWS_CONFIG_FILE", ".aws/config"),
        environment,
        token_url: token_url.or_else(|| env("AWS_ENDPOINT_URL_STS")),
        metadata_url: metadata_url
            .or_else(|| env("AWS_EC2_METADATA_SERVICE_ENDPOINT"))
            .unwrap_or_else(|| INSTANCE.to_owned()),
    }))))
}

/// What the variables of AWS's clients are called (AWS SDKs and Tools Reference Guide, read 2026-11).
const VARIABLES: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
];
/// The instance metadata service of EC2.
const INSTANCE: &str = "http://169.254.169.254";

/// The outer `None` is a problem, the inner one that what is written is empty.
fn aws_from(raw: &raw::RawAws, r: &mut Resolving<'_>) -> Option<Option<AwsFrom>> {
    let written = |a: &Option<At<String>>| a.is_some();
    let halves = [written(&raw.access_key_id), written(&raw.secret_access_key)];
    if halves == [false, false] && !written(&raw.session_token) {
        return Some(match &raw.profile {
            None => Some(AwsFrom::Chain),
            Some(name) if name.value.is_empty() => None,
            Some(name) => Some(AwsFrom::Profile(name.value.clone())),
        });
    }
    if halves != [true, true] || written(&raw.profile) {
        let right = "access_key_id and secret_access_key, or profile";
        r.problems
            .add(raw.place, "aws: with half a static key", right);
        return None;
    }
    let before = r.problems.len();
    let mut get = |a: &Option<At<String>>| {
        let at = a.as_ref()?;
        secret::find(at, r.outside, r.problems)
    };
    let (id, key) = (get(&raw.access_key_id), get(&raw.secret_access_key));
    let session_token = get(&raw.session_token);
    if r.problems.len() > before {
        return None;
    }
    Some(
        id.zip(key)
            .map(|(access_key_id, secret_access_key)| AwsFrom::Static {
                access_key_id,
                secret_access_key,
                session_token,
            }),
    )
}

/// As `aws_from`; an inner `Some(None)` is that no role is wanted.
fn aws_role(raw: &raw::RawAws, r: &mut Resolving<'_>) -> Option<Option<Option<AwsRole>>> {
    let text = |a: &Option<At<String>>| a.as_ref().map(|a| a.value.clone());
    let Some(arn) = &raw.role_arn else {
        if let Some(lone) = raw.external_id.as_ref().or(raw.session_name.as_ref()) {
            let what = "an external_id or session_name without role_arn";
            r.problems.add(lone.place, what, "role_arn: arn:aws:iam::…");
            return None;
        }
        return Some(Some(None));
    };
    if arn.value.is_empty() {
        return Some(None);
    }
    if !arn.value.starts_with("arn:") {
        r.problems
            .add(arn.place, "not a role's ARN", "arn:aws:iam::…:role/…");
        return None;
    }
    Some(Some(Some(AwsRole {
        arn: arn.value.clone(),
        external_id: text(&raw.external_id),
        session_name: text(&raw.session_name).unwrap_or_else(|| "stokehold".to_owned()),
    })))
}

fn google_source(raw: &raw::RawGoogle, r: &mut Resolving<'_>) -> Found {
    let token_url = checked_url(raw.token_url.as_ref(), r.problems)?;
    let metadata_url = checked_url(raw.metadata_url.as_ref(), r.problems)?;
    let metadata = raw.metadata.as_ref().is_some_and(|m| m.value);
    if metadata && raw.service_account.is_some() {
        let what = "google: with service_account and metadata";
        r.problems.add(raw.place, what, "one of them");
        return None;
    }
    let from = match &raw.service_account {
        Some(written) => service_account(written, r)?,
        None if metadata => Some(GoogleFrom::Metadata),
        None => Some(default_credentials(r)),
    };
    let Some(from) = from else {
        return Some(None);
    };
    let project = project(&from, raw, r)?;
    let host = (r.outside.env)("GCE_METADATA_HOST").filter(|h| !h.is_empty());
    Some(Some(KeySource::Google(Box::new(GoogleSource {
        from,
        project,
        token_url,
        metadata_url: metadata_url
            .or_else(|| host.map(|h| format!("http://{h}")))
            .unwrap_or_else(|| METADATA.to_owned()),
    }))))
}

/// Google Cloud's metadata server, by its documented name.
const METADATA: &str = "http://metadata.google.internal";

/// A path, the JSON itself, or where a secret can come from. The inner `None`: it is empty.
fn service_account(written: &At<String>, r: &mut Resolving<'_>) -> Option<Option<GoogleFrom>> {
    let mut text = written.value.trim().to_owned();
    if let Some(name) = text.strip_prefix("env:") {
        let Some(value) = (r.outside.env)(name) else {
            let what = format!("variable {name} is not set");
            r.problems
                .add(written.place, what, "the key file's path or its JSON there");
            return None;
        };
        text = value.trim().to_owned();
    }
    if text.is_empty() {
        return Some(None);
    }
    if text.starts_with('{') {
        return Some(Some(GoogleFrom::Inline(Secret::new(text))));
    }
    let path = if let Some(name) = text.strip_prefix("credential:") {
        match secret::credential(name, r.outside.env) {
            Ok(path) => path,
            Err((what, right)) => {
                r.problems.add(written.place, what, right);
                return None;
            }
        }
    } else {
        PathBuf::from(text.strip_prefix("file:").unwrap_or(&text))
    };
    Some(Some(GoogleFrom::File(path)))
}

/// Google's order (Application Default Credentials, read 2026-11): the variable, gcloud's file, the metadata server.
fn default_credentials(r: &Resolving<'_>) -> GoogleFrom {
    let env = |name: &str| (r.outside.env)(name).filter(|v| !v.is_empty());
    if let Some(path) = env("GOOGLE_APPLICATION_CREDENTIALS") {
        return GoogleFrom::File(PathBuf::from(path));
    }
    let folder = env("CLOUDSDK_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&env("HOME")?).join(".config/gcloud")));
    GoogleFrom::Default {
        well_known: folder.map(|f| f.join("application_default_credentials.json")),
    }
}

/// The project that the key file names, if any; a file that is no key file is a problem (the outer `None`).
fn project(
    from: &GoogleFrom,
    raw: &raw::RawGoogle,
    r: &mut Resolving<'_>,
) -> Option<Option<String>> {
    let (text, shown) = match from {
        GoogleFrom::Inline(text) => (text.expose().to_owned(), "service_account".to_owned()),
        GoogleFrom::File(path) => match (r.outside.read)(path) {
            Ok(text) => (text, path.display().to_string()),
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                r.problems
                    .add(raw.place, what, "a key file that this user may read");
                return None;
            }
        },
        GoogleFrom::Metadata | GoogleFrom::Default { .. } => return Some(None),
    };
    match KeyFile::parse(&text) {
        Ok(file) => Some(file.project().map(str::to_owned)),
        Err(why) => {
            let what = format!("{shown}: {why}");
            let right = "the JSON of a service account's key, or gcloud's default credentials";
            r.problems.add(raw.place, what, right);
            None
        }
    }
}

/// The outer `None` is a problem that was told. An empty URL is as none.
fn checked_url(written: Option<&At<String>>, problems: &mut Problems) -> Option<Option<String>> {
    let Some(written) = written.filter(|w| !w.value.is_empty()) else {
        return Some(None);
    };
    match url::parse(&written.value) {
        Ok(_) => Some(Some(written.value.trim_end_matches('/').to_owned())),
        Err(why) => {
            let right = "such as https://sts.example.com";
            problems.add(written.place, format!("the URL {why}"), right);
            None
        }
    }
}
