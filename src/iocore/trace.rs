//! Events of `tracing`, from the I/O core and the libraries it runs, as lines of the same log.
//!
//! Heard on the I/O core's own threads only: a subscriber is the default of a thread, never of the process. A shard's thread has none,
//! so an event there (`h2` has many) costs one load and a comparison as long as nobody listens at its level, at `debug` and `trace` a look
//! at a thread's variable besides, and is never formatted; what a shard has to say it says as a value, in its outcome. To put such
//! events into the lossy ring instead would mean to format them first, since their fields borrow what is on the stack.
//!
//! Libraries are heard up to `info`: below that they print frames, headers and statements, and with them keys and prompts. Those that speak
//! to `log` instead (rustls) are not heard; what they fail at comes back to us as errors. Spans are not kept.

use crate::base::WallTime;
use crate::config::LogLevel;
use crate::iocore::lane::Sender;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// An event as it will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub at: WallTime,
    pub level: LogLevel,
    pub message: String,
    /// `target` first: the module that said it.
    pub fields: Vec<(&'static str, String)>,
}

/// Hears events and sends them to the log; never blocks, and counts what the log had no room for.
pub struct Ear {
    level: LogLevel,
    to: Sender<Box<Heard>>,
    dropped: Arc<AtomicU64>,
    clock: fn() -> WallTime,
}

/// Of a message or a field: a library may print a whole buffer.
const TEXT_BYTES_MAX: usize = 2_048;

impl Ear {
    /// As a thread's default, by `tracing::dispatcher::set_default` or `with_default`.
    #[must_use]
    pub fn open(
        level: LogLevel,
        to: Sender<Box<Heard>>,
        dropped: Arc<AtomicU64>,
        clock: fn() -> WallTime,
    ) -> Dispatch {
        Dispatch::new(Self {
            level,
            to,
            dropped,
            clock,
        })
    }

    fn hears(&self, what: &Metadata<'_>) -> bool {
        let ours = what.target().split("::").next() == Some(env!("CARGO_PKG_NAME"));
        let most = if ours {
            self.level
        } else {
            self.level.min(LogLevel::Info)
        };
        what.is_event() && level(*what.level()) <= most
    }
}

impl Subscriber for Ear {
    fn register_callsite(&self, what: &'static Metadata<'static>) -> Interest {
        // Not `always`: that would be believed of all threads.
        if self.hears(what) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, what: &Metadata<'_>) -> bool {
        self.hears(what)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let what = event.metadata();
        let mut heard = Heard {
            at: (self.clock)(),
            level: level(*what.level()),
            message: String::new(),
            fields: vec![("target", what.target().to_owned())],
        };
        event.record(&mut heard);
        if self.to.try_send(Box::new(heard)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    // No span is enabled, so none of these is reached but by who ignores that.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Heard {
    fn add(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push((field.name(), text));
        }
    }
}

impl Visit for Heard {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, short(format_args!("{value}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, short(format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, short(format_args!("{value:?}")));
    }
}

/// Text that ends at a bound, however long what prints would go on.
fn short(text: std::fmt::Arguments<'_>) -> String {
    struct Short(String);
    impl std::fmt::Write for Short {
        fn write_str(&mut self, more: &str) -> std::fmt::Result {
            // Whoever prints may go on after an error.
            let room = TEXT_BYTES_MAX.saturating_sub(self.0.len());
            let mut fits = room.min(more.len());
            while !more.is_char_boundary(fits) {
                fits -= 1;
            }
            self.0.push_str(&more[..fits]);
            if fits < more.len() {
                self.0.push('…');
                // An error ends the printing.
                return Err(std::fmt::Error);
            }
            Ok(())
        }
    }
    let mut short = Short(String::new());
    let _ = short.write_fmt(text);
    short.0
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::iocore::lane::Lane;
    use tracing::dispatcher::with_default;

    fn heard_at(level: LogLevel, room: usize, say: impl FnOnce()) -> (Vec<Heard>, u64) {
        let (sender, lane) = Lane::new(room);
        let dropped = Arc::new(AtomicU64::new(0));
        let ear = Ear::open(level, sender, dropped.clone(), || WallTime(7));
        with_default(&ear, say);
        let heard = std::iter::from_fn(|| lane.try_receive()).map(|heard| *heard);
        (heard.collect(), dropped.load(Relaxed))
    }

    #[test]
    fn an_event_becomes_a_line_with_level_target_and_fields() {
        let (heard, _) = heard_at(LogLevel::Warn, 9, || {
            let why: &(dyn std::error::Error + 'static) = &std::io::Error::other("no \"disk\"");
            tracing::warn!(target: "stokehold::iocore", count = 3, at = "x y", why, "it waits {}", 9);
            tracing::info!(target: "stokehold::iocore", "less than what is asked for");
        });
        let fields = [
            ("target", "stokehold::iocore"),
            ("count", "3"),
            ("at", "x y"),
            ("why", "no \"disk\""),
        ];
        let want = Heard {
            at: WallTime(7),
            level: LogLevel::Warn,
            message: "it waits 9".to_owned(),
            fields: fields.map(|(name, text)| (name, text.to_owned())).to_vec(),
        };
        assert_eq!(heard, [want]);
    }

    #[test]
    fn a_secret_in_a_field_shows_nothing_and_libraries_are_not_heard_below_info() {
        let (heard, _) = heard_at(LogLevel::Trace, 9, || {
            let key = Secret::new("sk-very-secret".to_owned());
            tracing::trace!(target: "stokehold::iocore", ?key, "a key is used");
            tracing::debug!(target: "h2::codec", "frame: authorization: Bearer sk-very-secret");
            tracing::info!(target: "stokehold_other", "a neighbour of the same beginning");
            tracing::debug!(target: "stokehold_other", "sk-very-secret");
        });
        let said: Vec<&str> = heard.iter().map(|h| h.message.as_str()).collect();
        assert_eq!(said, ["a key is used", "a neighbour of the same beginning"]);
        assert!(!format!("{heard:?}").contains("very"), "{heard:?}");
    }

    #[test]
    fn other_threads_are_not_heard_and_do_not_format() {
        struct Loud;
        impl Debug for Loud {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("formatted on a thread without a subscriber")
            }
        }
        let (heard, _) = heard_at(LogLevel::Trace, 9, || {
            let shard = std::thread::Builder::new()
                .spawn(|| tracing::error!(target: "stokehold::net", what = ?Loud, "on a shard"))
                .expect("a thread");
            shard.join().expect("nothing was formatted");
        });
        assert_eq!(heard, []);
    }

    #[test]
    fn what_has_no_room_is_counted_and_what_is_long_is_cut() {
        let (heard, dropped) = heard_at(LogLevel::Error, 1, || {
            for _ in 0..3 {
                tracing::error!(target: "stokehold", text = "é".repeat(9_000), "long");
            }
        });
        let text = &heard[0].fields[1].1;
        assert_eq!((heard.len(), dropped), (1, 2));
        assert!(text.len() == 2_048 + "…".len() && text.ends_with("é…"));
    }
}
