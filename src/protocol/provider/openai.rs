use crate::base::Secret;
use crate::protocol::provider::{CallHead, ClientHeaders};
pub fn call(_key: Option<&Secret>, _client: &ClientHeaders<'_>, _stream: bool) -> CallHead {
    CallHead {
        method: "POST",
        path: String::new(),
        headers: Vec::new(),
    }
}
