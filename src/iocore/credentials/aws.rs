//! Credentials of AWS's: environment, shared files, web identity, container, instance; and roles taken on with them.
//!
//! In the order of AWS's own clients (AWS SDKs and Tools Reference Guide, credential provider chain, read 2026-11). Single sign-on is left
//! out: its tokens come from a browser, and a router has none.

use super::google::read;
use super::profile::{Profile, Profiles};
use super::{Fetched, Skew, World};
use crate::base::Secret;
use crate::config::{AwsFrom, AwsRole, AwsSource, parse_url};
use crate::iocore::http::{self, Ask, PATIENCE};
use crate::shard::sts::{self, Issued, Role, StsRequest};
use crate::shard::{AwsCredential, Credential};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

/// Of services on the machine itself, which answer at once or are not there.
pub const NEAR: Duration = Duration::from_secs(3);
const PROCESS: Duration = Duration::from_secs(30);
/// Profiles that refer to each other.
const CHAIN_MAX: usize = 8;
/// Where Amazon's container services answer.
const CONTAINER: &str = "http://169.254.170.2";

pub async fn fetch(source: &AwsSource, skew: &mut Skew, world: &World) -> Result<Fetched, String> {
    let mut fetch = Fetch {
        source,
        skew: *skew,
        world,
    };
    let issued = fetch.all().await;
    *skew = fetch.skew;
    let issued = issued?;
    Ok(Fetched {
        credential: Credential::Aws(issued.credential),
        lifetime: issued.lifetime,
    })
}

struct Fetch<'a> {
    source: &'a AwsSource,
    skew: Skew,
    world: &'a World,
}

type Found = Result<Issued, String>;

impl Fetch<'_> {
    async fn all(&mut self) -> Found {
        let base = match &self.source.from {
            AwsFrom::Static {
                access_key_id,
                secret_access_key,
                session_token,
            } => lasting(access_key_id, secret_access_key, session_token.as_ref()),
            AwsFrom::Profile(name) => {
                let profiles = self.profiles().await?;
                self.profile(&profiles, name, Vec::new()).await?
            }
            AwsFrom::Chain => self.chain().await?,
        };
        match &self.source.role {
            Some(role) => self.assume(&of(role), base).await,
            None => Ok(base),
        }
    }

    fn variable(&self, name: &str) -> Option<&Secret> {
        self.source.environment.get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.variable(name).map(Secret::expose)
    }

    /// The first place that has something. One that has it but cannot give it is an error, not a reason to go on: nobody wants to be
    /// billed as somebody else because a file was mistyped.
    async fn chain(&mut self) -> Found {
        if let Some(found) = self.environment() {
            return Ok(found);
        }
        let named = self.text("AWS_PROFILE").map(str::to_owned);
        let profiles = self.profiles().await;
        let name = named.as_deref().unwrap_or("default");
        match profiles {
            Ok(profiles) if named.is_some() || gives(&profiles, name) => {
                return self.profile(&profiles, name, Vec::new()).await;
            }
            Err(error) if named.is_some() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        if let Some(file) = self.text("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let arn = self
                .text("AWS_ROLE_ARN")
                .ok_or("AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN")?;
            let session = self.text("AWS_ROLE_SESSION_NAME").unwrap_or(SESSION);
            let (file, role) = (file.to_owned(), (arn.to_owned(), session.to_owned()));
            return self.web_identity(&role.0, &role.1, Path::new(&file)).await;
        }
        if let Some(url) = self.container_url() {
            return self.container(&url?).await;
        }
        if self
            .text("AWS_EC2_METADATA_DISABLED")
            .is_some_and(|v| v.eq_ignore_ascii_case("true"))
        {
            return Err(
                "no credentials in the environment, the shared files or a container".to_owned(),
            );
        }
        self.instance().await
    }

    fn environment(&self) -> Option<Issued> {
        let id = self.variable("AWS_ACCESS_KEY_ID")?;
        let key = self.variable("AWS_SECRET_ACCESS_KEY")?;
        Some(lasting(id, key, self.variable("AWS_SESSION_TOKEN")))
    }

    /// Both files; one that is not there is as empty.
    async fn profiles(&self) -> Result<Profiles, String> {
        let (config, credentials) = (
            read(&self.source.config_file).await,
            read(&self.source.credentials_file).await,
        );
        if let (Err(error), Err(_)) = (&credentials, &config) {
            return Err(error.clone());
        }
        let text =
            |read: Result<Secret, String>| read.unwrap_or_else(|_| Secret::new(String::new()));
        let (config, credentials) = (text(config), text(credentials));
        Ok(Profiles::parse(config.expose(), credentials.expose()))
    }

    /// A profile, and those it takes its own credentials from. `seen`: whoever asked for it.
    fn profile<'f>(
        &'f mut self,
        profiles: &'f Profiles,
        name: &'f str,
        mut seen: Vec<&'f str>,
    ) -> Pin<Box<dyn Future<Output = Found> + Send + 'f>> {
        Box::pin(async move {
            let profile = profiles
                .get(name)
                .ok_or_else(|| format!("no profile {name:?} in the shared files"))?;
            // A profile may name itself as its source: then its own key is meant.
            let again = seen.last() == Some(&name);
            if seen.len() >= CHAIN_MAX || (seen.contains(&name) && !again) {
                return Err(format!("profile {name:?} is its own source, over others"));
            }
            seen.push(name);
            match profile.get("role_arn").filter(|_| !again) {
                Some(arn) => self.role(profiles, profile, name, arn, seen).await,
                None => self.own(profile, name).await,
            }
        })
    }

    /// What a profile has itself.
    async fn own(&mut self, profile: Profile<'_>, name: &str) -> Found {
        let key = profile
            .get("aws_access_key_id")
            .zip(profile.get("aws_secret_access_key"));
        if let Some((id, key)) = key {
            let secret = |text: &str| Secret::new(text.to_owned());
            let token = profile.get("aws_session_token").map(secret);
            return Ok(lasting(&secret(id), &secret(key), token.as_ref()));
        }
        if let Some(command) = profile.get("credential_process") {
            return self.process(command).await;
        }
        let why = match profile.get("sso_session").or(profile.get("sso_start_url")) {
            Some(_) => "wants single sign-on, which is not served: use credential_process",
            None => "has no key, role or credential_process",
        };
        Err(format!("profile {name:?} {why}"))
    }

    async fn role(
        &mut self,
        profiles: &Profiles,
        profile: Profile<'_>,
        name: &str,
        arn: &str,
        seen: Vec<&str>,
    ) -> Found {
        let role = Role {
            arn,
            session_name: profile.get("role_session_name").unwrap_or(SESSION),
            external_id: profile.get("external_id"),
        };
        if let Some(file) = profile.get("web_identity_token_file") {
            return self
                .web_identity(role.arn, role.session_name, Path::new(file))
                .await;
        }
        let base = match (
            profile.get("source_profile"),
            profile.get("credential_source"),
        ) {
            (Some(source), _) => self.profile(profiles, source, seen).await?,
            (None, Some("Environment")) => self.environment().ok_or_else(|| {
                format!("profile {name:?} wants a key of the environment, and there is none")
            })?,
            (None, Some("EcsContainer")) => {
                let url = self.container_url().ok_or_else(|| {
                    format!("profile {name:?} wants a container's key, and there is none")
                })??;
                self.container(&url).await?
            }
            (None, Some("Ec2InstanceMetadata")) => self.instance().await?,
            (None, _) => {
                return Err(format!(
                    "profile {name:?} has role_arn without source_profile or credential_source"
                ));
            }
        };
        self.assume(&role, base).await
    }

    /// A program that prints credentials. What else it prints is not shown: it may be a secret.
    async fn process(&self, command: &str) -> Found {
        let child = tokio::process::Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PROCESS, child)
            .await
            .map_err(|_| "credential_process: no answer in time".to_owned())?
            .map_err(|e| format!("credential_process: {e}"))?;
        if !output.status.success() {
            return Err(format!("credential_process: {}", output.status));
        }
        let now = self.world.wall(self.skew);
        sts::read_json(&output.stdout, now).map_err(|e| format!("credential_process: {e}"))
    }

    async fn web_identity(&mut self, arn: &str, session: &str, file: &Path) -> Found {
        let token = read(file).await?;
        let role = Role {
            arn,
            session_name: session,
            external_id: None,
        };
        let request = role.assume_with(token.expose().trim());
        self.ask_sts(request)
            .await
            .map_err(|(code, said)| told(&code, &said))
    }

    /// Takes a role on. Where the service says that ours is the wrong time, and its clock is another, once more with its own.
    async fn assume(&mut self, role: &Role<'_>, by: Issued) -> Found {
        let host = http::host(&self.sts_url())?;
        let before = self.skew;
        let now = self.world.wall(before);
        let first = role.assume(&by.credential, &self.source.region, &host, now);
        match self.ask_sts(first).await {
            Ok(issued) => Ok(issued),
            Err((code, _)) if CLOCKS.contains(&code.as_str()) && self.skew != before => {
                let now = self.world.wall(self.skew);
                let second = role.assume(&by.credential, &self.source.region, &host, now);
                self.ask_sts(second)
                    .await
                    .map_err(|(code, said)| told(&code, &said))
            }
            Err((code, said)) => Err(told(&code, &said)),
        }
    }

    fn sts_url(&self) -> String {
        let usual = || sts::url(&self.source.region);
        self.source.token_url.clone().unwrap_or_else(usual)
    }

    /// The error is the service's code and message. Learns the service's clock on the way.
    async fn ask_sts(&mut self, request: StsRequest) -> Result<Issued, (String, String)> {
        let headers = request.headers.iter();
        let url = self.sts_url();
        let answer = self
            .world
            .http
            .call(Ask {
                method: "POST",
                url: &url,
                headers: headers.map(|(n, v)| (*n, v.expose().to_owned())).collect(),
                body: request.form.expose().as_bytes().to_vec(),
                patience: PATIENCE,
            })
            .await
            .map_err(|error| (String::new(), error))?;
        if let Some(corrected) = self.world.corrected(self.skew, answer.date) {
            self.skew = corrected;
        }
        let body = String::from_utf8_lossy(&answer.body);
        sts::read_answer(&body, self.world.wall(self.skew)).map_err(|(code, said)| {
            match code.as_str() {
                "" if said.is_empty() => (
                    code,
                    format!("the token service answered {}", answer.status),
                ),
                _ => (code, said),
            }
        })
    }

    /// Where a container's credentials are; an error where the variable names a host that must not be shown its token.
    fn container_url(&self) -> Option<Result<String, String>> {
        if let Some(path) = self.text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return Some(Ok(format!("{CONTAINER}{path}")));
        }
        let full = self.text("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
        let (base, _) = full.split_once('?').unwrap_or((full, ""));
        let allowed = parse_url(base).is_ok_and(|url| {
            let local = url.host == "localhost"
                || url
                    .host
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
            url.tls || local || CONTAINERS.contains(&url.host.as_str())
        });
        Some(if allowed {
            Ok(full.to_owned())
        } else {
            Err(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine"
                    .to_owned(),
            )
        })
    }

    async fn container(&self, url: &str) -> Found {
        let token = match self.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read(Path::new(file)).await?.expose().trim().to_owned()),
            None => self
                .text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map(str::to_owned),
        };
        let headers = token
            .map(|token| ("authorization", token))
            .into_iter()
            .collect();
        let body = self.near("GET", url, headers).await?;
        self.json(&body)
    }

    /// An instance's own role, by the second version of the metadata service: a token first, which no request that was led here can get.
    async fn instance(&self) -> Found {
        let base = &self.source.metadata_url;
        let ttl = vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())];
        let token = self
            .near("PUT", &format!("{base}/latest/api/token"), ttl)
            .await?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let shown = || vec![("x-aws-ec2-metadata-token", token.clone())];
        let roles = format!("{base}/latest/meta-data/iam/security-credentials/");
        let role = self.near("GET", &roles, shown()).await?;
        let role = String::from_utf8_lossy(&role)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        if role.is_empty() {
            return Err("the instance has no role".to_owned());
        }
        let body = self.near("GET", &format!("{roles}{role}"), shown()).await?;
        self.json(&body)
    }

    fn json(&self, body: &[u8]) -> Found {
        sts::read_json(body, self.world.wall(self.skew))
    }

    async fn near(
        &self,
        method: &'static str,
        url: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<bytes::Bytes, String> {
        let answer = self
            .world
            .http
            .call(Ask {
                method,
                url,
                headers,
                body: Vec::new(),
                patience: NEAR,
            })
            .await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("{}: answered {status}", http::host(url)?)),
        }
    }
}

/// Hosts of Amazon's container services (the second is EKS's).
const CONTAINERS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// What the token service says when the two clocks are apart, among else.
const CLOCKS: [&str; 4] = [
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "InvalidSignatureException",
];
const SESSION: &str = "stokehold";

fn told(code: &str, said: &str) -> String {
    let said: String = said.chars().take(200).collect();
    match code {
        "" => said,
        code => format!("the token service: {code}: {said}"),
    }
}

fn of(role: &AwsRole) -> Role<'_> {
    Role {
        arn: &role.arn,
        session_name: &role.session_name,
        external_id: role.external_id.as_deref(),
    }
}

/// Keys that have no end of their own.
fn lasting(id: &Secret, key: &Secret, token: Option<&Secret>) -> Issued {
    Issued {
        credential: AwsCredential {
            access_key_id: id.expose().to_owned(),
            secret_access_key: key.clone(),
            session_token: token.cloned(),
        },
        lifetime: None,
    }
}

/// True where the profile says anything of credentials: a `default` that only names a region does not end the chain.
fn gives(profiles: &Profiles, name: &str) -> bool {
    let fields = [
        "aws_access_key_id",
        "role_arn",
        "credential_process",
        "sso_session",
        "sso_start_url",
    ];
    profiles
        .get(name)
        .is_some_and(|p| fields.iter().any(|f| p.get(f).is_some()))
}
