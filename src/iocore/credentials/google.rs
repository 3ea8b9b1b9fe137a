//! Tokens of Google's, from wherever a source says.

use super::{Fetched, Skew, World};
use crate::base::Secret;
use crate::config::{GoogleFrom, GoogleSource};
use crate::iocore::http::{Answer, Ask, PATIENCE};
use crate::shard::Credential;
use crate::shard::google_auth::{self, KeyFile, Refused, Token};
use std::path::Path;

pub async fn fetch(
    source: &GoogleSource,
    skew: &mut Skew,
    world: &World,
) -> Result<Fetched, String> {
    let token = match &source.from {
        GoogleFrom::Inline(text) => exchange(text, source, skew, world).await?,
        // Read each time: a key that was replaced on disk is the one in use from now on.
        GoogleFrom::File(path) => exchange(&read(path).await?, source, skew, world).await?,
        GoogleFrom::Default {
            well_known: Some(path),
        } if is_there(path).await => exchange(&read(path).await?, source, skew, world).await?,
        GoogleFrom::Metadata | GoogleFrom::Default { .. } => metadata(source, world).await?,
    };
    Ok(Fetched {
        credential: Credential::Bearer(token.secret),
        lifetime: Some(token.lifetime),
    })
}

async fn is_there(path: &Path) -> bool {
    let path = path.to_owned();
    let look = tokio::task::spawn_blocking(move || path.exists());
    look.await.unwrap_or(false)
}

/// A file's text; the error names the file.
pub async fn read(path: &Path) -> Result<Secret, String> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let text = std::fs::read_to_string(&path);
        text.map_err(|error| format!("cannot read {}: {error}", path.display()))
    });
    read.await.map_err(|e| e.to_string())?.map(Secret::new)
}

/// Buys a token. Where the server says that ours is the wrong time, and its clock is another, once more with its own.
async fn exchange(
    text: &Secret,
    source: &GoogleSource,
    skew: &mut Skew,
    world: &World,
) -> Result<Token, String> {
    let file = KeyFile::parse(text.expose())?;
    let (refused, answer) = match buy(&file, source, *skew, world).await? {
        (Ok(token), _) => return Ok(token),
        (Err(refused), answer) => (refused, answer),
    };
    let Some(corrected) = world
        .corrected(*skew, answer.date)
        .filter(|_| refused.clock)
    else {
        return Err(refused.why);
    };
    *skew = corrected;
    let (token, _) = buy(&file, source, *skew, world).await?;
    token.map_err(|refused| refused.why)
}

async fn buy(
    file: &KeyFile,
    source: &GoogleSource,
    skew: Skew,
    world: &World,
) -> Result<(Result<Token, Refused>, Answer), String> {
    let request = file.request(world.wall(skew), source.token_url.as_deref())?;
    let form = "application/x-www-form-urlencoded".to_owned();
    let answer = world
        .http
        .call(Ask {
            method: "POST",
            url: &request.url,
            headers: vec![("content-type", form)],
            body: request.form.expose().as_bytes().to_vec(),
            patience: PATIENCE,
        })
        .await?;
    let token = google_auth::read_answer(answer.status, &answer.body);
    Ok((token, answer))
}

async fn metadata(source: &GoogleSource, world: &World) -> Result<Token, String> {
    let answer = world
        .http
        .call(Ask {
            method: "GET",
            url: &google_auth::metadata_url(&source.metadata_url),
            // Without it the server refuses: a browser that was led here cannot set it.
            headers: vec![("metadata-flavor", "Google".to_owned())],
            body: Vec::new(),
            patience: super::aws::NEAR,
        })
        .await?;
    google_auth::read_answer(answer.status, &answer.body).map_err(|refused| refused.why)
}
