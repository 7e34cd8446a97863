//! What the resident memory of a process consists of.

use model::rss::{Rss, RssBytes, RssClass, RssKind, RssStacks};
use model::Timestamp;
use serde_json::{Map, Value, json};

use super::{RecordError, pack, unpack};

/// One list for both ways: the figures of an account that are a number or unknown.
macro_rules! figures {
    ($rss:ident, $act:ident) => {
        $act!("rss_bytes", $rss.process.rss_bytes);
    };
}
