//! What the fake promises in the dialects besides Chat and Messages.
