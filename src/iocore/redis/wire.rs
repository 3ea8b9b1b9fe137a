//! The script, and how it is called.

use crate::shard::LeaseAsk;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult};
use std::sync::Arc;

/// How keys are called. All of a namespace are in one slot of a cluster, since the script reads two.
#[derive(Clone, Debug)]
pub struct Keys {
    namespace: Arc<str>,
}

impl Keys {
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
        }
    }

    /// When the database was born: gone when it was emptied.
    #[must_use]
    pub fn born(&self) -> String {
        format!("{{{}}}:born", self.namespace)
    }

    #[must_use]
    pub fn limit(&self, name: &str) -> String {
        format!("{{{}}}:rl:{name}", self.namespace)
    }
}

/// What grants.
pub struct Script(redis::Script);

impl Script {
    #[must_use]
    pub fn new() -> Self {
        Self(redis::Script::new(include_str!("lease.lua")))
    }

    /// Asks for all of them in one round trip; in two where Redis does not know the script yet. Asking twice does no harm.
    pub async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
        asks: &[Box<LeaseAsk>],
    ) -> RedisResult<Vec<Result<Vec<i64>, RedisError>>> {
        let pipeline = self.pipeline(keys, asks);
        let answers: Vec<RedisResult<Vec<i64>>> = pipeline.query_async(connection).await?;
        let unknown = |answer: &RedisResult<Vec<i64>>| {
            answer
                .as_ref()
                .is_err_and(|error| error.code() == Some("NOSCRIPT"))
        };
        if !answers.iter().any(unknown) {
            return Ok(answers);
        }
        self.0.load_async(connection).await?;
        pipeline.query_async(connection).await
    }

    fn pipeline(&self, keys: &Keys, asks: &[Box<LeaseAsk>]) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(asks.len());
        pipeline.ignore_errors();
        for ask in asks {
            pipeline.add_command(self.command(keys, ask));
        }
        pipeline
    }

    fn command(&self, keys: &Keys, ask: &LeaseAsk) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.0.get_hash()).arg(2).arg(keys.born());
        command.arg(keys.limit(&ask.name)).arg(ask.numbers());
        command
    }
}
